"""`srae-dist neighbours`: the images of a domain whose content is nearest to a picture's
(paper Sec. 4.2, Fig. 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srae_dist import __version__
from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    from srae_dist.evaluate.neighbour_answer import Answer

DISTANCE = "cosine distance of content codes, each domain's mean removed: 0 same, 1 unrelated"

_PICTURE = Path("neighbours.png")
_SUFFIXES = (".png", ".jpg", ".webp")


def neighbours(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to find neighbours of.")
    ],
    in_: Annotated[
        str, typer.Option("--in", metavar="DOMAIN", help="Domain to look for neighbours in.")
    ],
    k: Annotated[int, typer.Option("-k", metavar="K", help="Neighbours of each picture.")] = 5,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="A run folder, a checkpoint folder or an ema.safetensors file (default: the run "
            "below runs/ with the newest checkpoint).",
        ),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="A shard folder, or its URL (default: what the run trained on)."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to look in.")] = "train",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DOMAIN",
            help="The pictures' own domain (default: the one whose mean code is nearest to a "
            "picture's domain code).",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the picture of all goes: png, jpg or webp.")
    ] = _PICTURE,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the answer here, too.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The index of codes (default: beside the checkpoint)."),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the index again, even if it is there.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, mps (default: a GPU if there is one).")
    ] = None,
) -> None:
    """Find the images of a domain whose content is nearest to that of pictures.

    The first time, all images of the split are encoded, and an index of their codes is saved.
    """
    _check_outputs(out, json)

    from srae_dist.evaluate.neighbour_answer import Question, ask

    answer = ask(
        Question(
            images=images,
            domain=in_,
            k=k,
            run=run,
            shards=shards,
            split=split,
            own=from_,
            index=index,
            rebuild=rebuild,
            device=device,
        )
    )
    _show(answer)
    _write(answer, out, json)


def _show(answer: Answer) -> None:
    """Print what was found."""
    from srae_dist.evaluate.content_index import describe
    from srae_dist.runtime import console

    question = answer.question
    chosen = "" if question.run else ", the newest below runs/ (--run names another)"
    console.facts(
        f"srae_dist {__version__}: the nearest in {question.domain}",
        {
            "checkpoint": f"{answer.checkpoint}, step {answer.step:,}{chosen}",
            "shards": f"{answer.opened.store.name}, split {question.split}",
            "index": f"{answer.index}: {describe(answer.stored)}",
            "distance": DISTANCE,
        },
    )
    guessed = "" if question.own else ", by its domain code (set another with --from)"
    found = answer.found
    for number, path in enumerate(question.images):
        far = (f"{distance:.4f}" for distance in found.distances[number].tolist())
        entries = zip(found.keys[number], answer.origins[number], far, strict=True)
        rows = [[str(rank), *entry] for rank, entry in enumerate(entries, start=1)]
        console.info(f"{path}, {answer.own[number]}{guessed}:")
        console.table(["", "key", "file", "distance"], rows)


def _check_outputs(out: Path, json: Path | None) -> None:
    """Refuse what could not be written, before there is anything to lose.

    Raises:
        UserError: a folder is named, or a picture's suffix is none that is written.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise UserError(f"--out {out} is no {', '.join(_SUFFIXES)} file; name one.")
    for option, path in (("--out", out), ("--json", json)):
        if path is not None and path.is_dir():
            raise UserError(f"{option} {path} is a folder; name a file.")


def _write(answer: Answer, out: Path, json: Path | None) -> None:
    """Write the picture, and the answer as JSON.

    Raises:
        UserError: one of them cannot be written.
    """
    from srae_dist.core import atomic
    from srae_dist.evaluate.neighbour_answer import as_json, draw
    from srae_dist.runtime import console

    image = draw(answer)
    try:
        with atomic.replacing(out) as temporary:
            image.save(temporary)
        if json is not None:
            atomic.write_json(json, as_json(answer))
    except OSError as error:
        raise UserError(
            f"{error.filename or out} cannot be written: {error.strerror or error}; name another "
            "place with --out or --json."
        ) from None
    console.info(f"The picture is in {out}.")
