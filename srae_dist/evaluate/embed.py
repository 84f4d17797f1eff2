"""`srae-dist embed`: the codes of a split seen by t-SNE (paper, Fig. 6 and 8)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srae_dist.core.errors import UserError
from srae_dist.evaluate.options import claim, run_folder

if TYPE_CHECKING:
    from srae_dist.evaluation.embedding import Embedding
    from srae_dist.evaluation.section import Section

_FOLDER = "embedding"


def embed(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint folder or an ema.safetensors file."
        ),
    ],
    shards: Annotated[str, typer.Argument(metavar="SHARDS", help="A shard folder, or its URL.")],
    split: Annotated[str, typer.Option(help="Split to show.")] = "test",
    per_domain: Annotated[
        int, typer.Option(min=4, max=5000, help="Images of each domain, at most.")
    ] = 500,
    perplexity: Annotated[
        float,
        typer.Option(help="t-SNE's; lowered to a third of the images where there are few."),
    ] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Of t-SNE.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the pictures go (default: RUN/embedding)."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps (default: a GPU if there is one).")
    ] = None,
) -> None:
    """Draw content codes, domain codes and both together in the plane, coloured by domain.

    Writes tsne.png (all three, as the paper shows them), a picture of each, also coloured by
    content label if the shards have labels, and embedding.json with the places of all images.
    """
    from srae_dist.data.opened import open_split
    from srae_dist.evaluate.encoding import encode_split
    from srae_dist.evaluation.embedding import embed as place
    from srae_dist.evaluation.embedding import section_of
    from srae_dist.evaluation.tsne import fitting_perplexity
    from srae_dist.runtime import checkpoint, console
    from srae_dist.translation.setup import find_device
    from srae_dist.translation.translator import load

    fitting_perplexity(per_domain * 2, perplexity)  # refuses what makes no sense at once
    file = checkpoint.resolve(run)
    folder = out or _beside(file)
    translator = load(file)
    translator.to(find_device(device, default=translator.device))
    opened = open_split(shards, split)
    claim(folder)
    encoded = encode_split(translator, opened, per_domain=per_domain)
    found = place(encoded, perplexity=perplexity, seed=seed)
    section = section_of(found, split=split)
    written = write(folder, found, section)
    console.facts(
        f"t-SNE of the codes of {len(encoded):,} images",
        {
            "checkpoint": f"{file}, step {translator.step:,}",
            "shards": f"{opened.store.name}, split {split}",
            "t-SNE": f"perplexity {found.perplexity:g}, seed {seed}",
            "written": f"{folder}: {', '.join(written)}",
        },
    )
    for table in section.tables:
        console.table(table.columns, table.rows, title=table.title)


def write(folder: Path, found: Embedding, section: Section) -> list[str]:
    """Write the pictures and the places of all images; return the files' names."""
    from srae_dist.core import atomic
    from srae_dist.evaluation.embedding import side_by_side
    from srae_dist.evaluation.section import Picture, files_of

    together = Picture("tsne", "", side_by_side(found))
    pictures = files_of([together, *section.pictures])
    for name, picture in pictures.items():
        with atomic.replacing(folder / name) as temporary:
            picture.image.save(temporary, "PNG")
    atomic.write_json(folder / "embedding.json", {**section.values, **found.rows()})
    return [*pictures, "embedding.json"]


def _beside(checkpoint: Path) -> Path:
    """Return where the pictures go unless the user says so."""
    folder = run_folder(checkpoint)
    if folder is None:
        raise UserError(
            f"{checkpoint} lies in no run folder; say where the pictures go with --out."
        )
    return folder / _FOLDER
