"""Images to shards: `srae-dist shard`, or `python -m srae_dist.shard`.

One source of images (folders, a data set, the built-in faces), or shards of others to index.
"""

from __future__ import annotations

import functools
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srae_dist.core.errors import ExitCode, UserError

if TYPE_CHECKING:
    from srae_dist.data.publish import Written
    from srae_dist.data.records import Record, Source
    from srae_dist.data.writer import Form

_SOURCES = ("domain", "folders", "dataset", "faces", "index")
_BELONGS = {  # option -> the sources it says something of; those not named here go with all
    "domains": ("faces", "index"),
    "label_regex": ("domain", "folders"),
    **dict.fromkeys(("image_column", "domain_column", "label_column"), ("dataset",)),
    **dict.fromkeys(
        ("out", "size", "holdout", "limit", "format", "quality", "shards", "seed"), _SOURCES[:-1]
    ),
}
_SHOWN = 20  # bad files named on the screen; all are in the list on disk

# an option in each part of the help
_input = functools.partial(typer.Option, rich_help_panel="From where (choose one)")
_choice = functools.partial(typer.Option, rich_help_panel="What is taken")
_output = functools.partial(typer.Option, rich_help_panel="What is written")


def shard(
    context: typer.Context,
    domain: Annotated[
        list[str] | None,
        _input(metavar="NAME=DIR", help="Images of a domain, below DIR. Repeat it."),
    ] = None,
    folders: Annotated[
        Path | None, _input(metavar="ROOT", help="ROOT/{split}/{domain}/... or ROOT/{domain}/...")
    ] = None,
    dataset: Annotated[
        str | None,
        _input(
            metavar="NAME",
            help="A data set for the package datasets: a name of the hub, or a path.",
        ),
    ] = None,
    faces: Annotated[
        int | None, _input(metavar="N", help="Built-in faces: N to train, a tenth to test.")
    ] = None,
    index: Annotated[
        Path | None,
        _input(metavar="DIR", help="Plain WebDataset shards (with .cls) to index in place."),
    ] = None,
    split: Annotated[
        str | None,
        _choice(
            metavar="NAME",
            help="Split to write, or to pick (default: train, or all that are found).",
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        _choice(
            metavar="SHARE", help="Share that becomes split test, by a hash of the file's name."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        _choice(metavar="NAME=N", help="At most N images of a domain a split. Repeatable."),
    ] = None,
    domains: Annotated[
        str | None,
        _choice(metavar="A,B,...", help="Domains of --faces, or names for the numbers of --index."),
    ] = None,
    image_column: Annotated[str, _choice(metavar="NAME", help="Images of --dataset.")] = "image",
    domain_column: Annotated[str, _choice(metavar="NAME", help="Domains of --dataset.")] = "label",
    label_column: Annotated[
        list[str] | None,
        _choice(metavar="NAME", help="Content label of --dataset to keep. Repeatable."),
    ] = None,
    label_regex: Annotated[
        str | None,
        _choice(
            metavar="REGEX",
            help="Content label in file names: group 1, or named groups, as in '^(\\d)_'.",
        ),
    ] = None,
    out: Annotated[Path | None, _output(metavar="DIR", help="Where the shards go.")] = None,
    size: Annotated[
        int, _output(metavar="PIXELS", min=8, max=4096, help="Side of the square images.")
    ] = 64,
    format: Annotated[str, _output(metavar="NAME", help="jpg, png or webp.")] = "jpg",
    quality: Annotated[int, _output(metavar="Q", min=1, max=100, help="Of jpg and webp.")] = 95,
    shards: Annotated[
        int | None,
        _output(
            metavar="N",
            min=1,
            help="Shards a split (default: at least 64, 10,000 images each at most).",
        ),
    ] = None,
    seed: Annotated[
        int, _output(metavar="N", min=0, help="Of the order, of --limit and --faces.")
    ] = 0,
    allow_bad: Annotated[
        int, _output(metavar="N", min=0, help="Unreadable files that are no failure.")
    ] = 0,
    force: Annotated[bool, _output("--force", help="Replace splits that are there.")] = False,
) -> int:
    """Write images as shards of mixed domains, or index WebDataset shards that are there."""
    _check_options(context)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C: sweep up first
    if index is not None:
        written, root = _index(index, domains=_names(domains), split=split, force=force), index
        return _report(root, written, allow_bad=allow_bad)

    from srae_dist.data import sources
    from srae_dist.data.writer import Form

    if out is None:
        raise UserError("--out is missing; say where the shards go, as in --out shards/mine.")
    source: Source
    if domain:
        source = sources.from_domains(
            _folders(domain), split=split or "train", label=_pattern(label_regex)
        )
    elif folders is not None:
        source = sources.from_root(folders, split=split, label=_pattern(label_regex))
    elif dataset is not None:
        source = sources.from_dataset(
            dataset,
            split=split,
            image_column=image_column,
            domain_column=domain_column,
            label_columns=label_column or (),
        )
    else:
        from srae_dist.data.faces import DOMAINS

        source = sources.from_faces(
            faces or 0, _names(domains) or DOMAINS, size=size, seed=seed, split=split
        )
    splits = _plan(source, holdout=holdout, limits=_limits(limit or []), seed=seed)
    form = Form(size=size, format=format, quality=quality, shards=shards)
    return _report(out, _write(out, source, splits, form, force=force), allow_bad=allow_bad)


def _check_options(context: typer.Context) -> None:
    """Refuse no source, two sources, and options that say nothing of the source chosen."""
    given = [
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    chosen = [name for name in _SOURCES if name in given]
    if len(chosen) != 1:
        wanted = ", ".join(map(_flag, _SOURCES))
        found = " and ".join(map(_flag, chosen)) or "none"
        raise UserError(f"Choose one source of images out of {wanted}; there is {found}.")
    for name in given:
        if chosen[0] not in _BELONGS.get(name, _SOURCES):
            raise UserError(f"{_flag(name)} does not go with {_flag(chosen[0])}; leave it out.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _names(text: str | None) -> tuple[str, ...]:
    """Parse ``a,b,c``."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _folders(texts: list[str]) -> dict[str, list[Path]]:
    """Parse every ``NAME=DIR``."""
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder):
            raise UserError(f"--domain '{text}' is not NAME=DIR, as in --domain human=photos.")
        found.setdefault(name, []).append(Path(folder).expanduser())
    return found


def _limits(texts: list[str]) -> dict[str, int]:
    """Parse every ``NAME=N``."""
    found: dict[str, int] = {}
    for text in texts:
        match = re.fullmatch(r"([^=]+)=([0-9]+)", text)
        if match is None or match[1] in found:
            raise UserError(
                f"--limit '{text}' is not NAME=N, once a domain, as in --limit human=22000."
            )
        found[match[1]] = int(match[2])
    return found


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"--label-regex '{text}' is no regular expression: {error}.") from None
    if pattern.groups == 0:
        raise UserError(f"--label-regex '{text}' has no group; write the label's part in ( ).")
    if pattern.groups > max(1, len(pattern.groupindex)):
        raise UserError(
            f"--label-regex '{text}' has {pattern.groups} groups; "
            "name them as in (?P<digit>...), or write (?:...)."
        )
    return pattern


def _plan(
    source: Source, *, holdout: float | None, limits: dict[str, int], seed: int
) -> dict[str, list[Record]]:
    """Choose each split's records and put them in the order they are written in."""
    from srae_dist.data.records import check_names, hold_out, limit, shuffled

    check_names(source)
    records = list(source.records)
    if holdout is not None:
        records = hold_out(records, holdout)
    if limits:
        records = limit(records, limits, seed=seed)
    return shuffled(records, seed=seed)


def _write(
    out: Path, source: Source, splits: dict[str, list[Record]], form: Form, *, force: bool
) -> Written:
    from srae_dist.data.writer import write
    from srae_dist.runtime import console

    for note in source.notes:
        console.info(note)
    with console.progress(sum(map(len, splits.values())), "images") as advance:
        return write(out, source, splits, form=form, force=force, advance=advance)


def _index(root: Path, *, domains: tuple[str, ...], split: str | None, force: bool) -> Written:
    from srae_dist.data.plain import index, list_tars
    from srae_dist.runtime import console

    with console.progress(len(list_tars(root)), "shards") as advance:
        return index(root, domains=domains or None, split=split, force=force, advance=advance)


def _report(root: Path, written: Written, *, allow_bad: int) -> int:
    """Show what was written and what could not be read; return the exit code."""
    from srae_dist.data.publish import BAD_FILES
    from srae_dist.runtime import console

    made, rows = written.manifest, []
    for name in sorted(written.splits, key=lambda name: (name != "train", name)):
        split = made.splits[name]
        counts = split.counts()
        held = ", ".join(f"{counts[domain]:,} {domain}" for domain in made.domains)
        size = sum(part.bytes for part in split.shards) / 1e6
        rows.append((name, split.samples, held, len(split.shards), size))
    side = f"{made.image_size} x {made.image_size}" if made.image_size else "mixed sizes"
    columns = ("split", "images", "of each domain", "shards", "MB")
    console.table(columns, rows, title=f"{root}: {side}, {made.image_format}")
    if not written.bad:
        return ExitCode.DONE
    for bad in written.bad[:_SHOWN]:
        console.warn(f"cannot read {bad.origin}: {bad.reason}")
    count = len(written.bad)
    files = "1 file" if count == 1 else f"{count:,} files"
    console.warn(f"left out {files} that cannot be read, listed in {root / BAD_FILES}.")
    if count <= allow_bad:
        return ExitCode.DONE
    console.warn(f"--allow-bad {count} would accept that.")
    return ExitCode.SOME_FAILED


def main() -> None:
    """Run this one command."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(shard)
    run(app)


if __name__ == "__main__":
    main()
