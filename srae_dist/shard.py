"""Images to shards: `srae-dist shard`, or `python -m srae_dist.shard`.

One source of images (folders, a data set, the built-in faces), or shards of others to index.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srae_dist.core.errors import ExitCode, UserError

if TYPE_CHECKING:
    from srae_dist.data.plan import Form
    from srae_dist.data.publish import Written
    from srae_dist.data.records import Records, Source
    from srae_dist.data.workplace import Part

_SOURCES = ("domain", "folders", "dataset", "faces", "index", "check")
_MADE = ("domain", "folders", "dataset", "faces")  # those that new shards are made of
_BELONGS = {  # option -> the sources it says something of; those not named here go with all
    "domains": ("faces", "index"),
    "label_regex": ("domain", "folders"),
    **dict.fromkeys(("image_column", "domain_column", "label_column"), ("dataset",)),
    **dict.fromkeys(
        ("out", "size", "holdout", "limit", "format", "quality", "shards", "seed"), _MADE
    ),
    **dict.fromkeys(("layout", "fast_shrink", "part"), _MADE),
    "processes": (*_MADE, "check"),
    **dict.fromkeys(("allow_bad", "force"), (*_MADE, "index")),
    "json": ("check",),
}
_FEW = 10  # images of a domain in a split that are worth a note
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
    check: Annotated[
        str | None,
        _input(metavar="DIR", help="A shard folder to verify: every hash, count and image."),
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
    layout: Annotated[
        str,
        _output(
            metavar="NAME",
            help="mixed: every shard of all domains; domain: each shard of one, to stream "
            "balanced batches from afar.",
        ),
    ] = "mixed",
    fast_shrink: Annotated[
        bool,
        _output(
            "--fast-shrink",
            help="Decode large JPEGs at 1/2, 1/4 or 1/8: faster, and changes pixels slightly.",
        ),
    ] = False,
    seed: Annotated[
        int, _output(metavar="N", min=0, help="Of the order, of --limit and --faces.")
    ] = 0,
    processes: Annotated[
        int | None,
        _output(metavar="N", min=1, max=4096, help="That write at a time (default: the cores)."),
    ] = None,
    part: Annotated[
        str | None,
        _output(
            metavar="I/N",
            help="Make the I-th of N parts, here or on another machine that sees the same --out; "
            "the last one publishes.",
        ),
    ] = None,
    allow_bad: Annotated[
        int, _output(metavar="N", min=0, help="Unreadable files that are no failure.")
    ] = 0,
    force: Annotated[bool, _output("--force", help="Replace splits that are there.")] = False,
    json: Annotated[
        Path | None, _output(metavar="FILE", help="Where --check writes its report as JSON.")
    ] = None,
) -> int:
    """Write images as shards of mixed domains; or index, or check, shards that are there."""
    _check_options(context)

    from srae_dist.data import arguments, sources
    from srae_dist.data.plan import Form
    from srae_dist.data.records import choose

    mine = arguments.part(part, os.environ)
    if index is not None:
        _check_alone(mine, "--index")
        names = arguments.names(domains)
        indexed = _index(index, domains=names, split=split, force=force)
        return _report(index, indexed, allow_bad=allow_bad)
    if check is not None:
        _check_alone(mine, "--check")
        return _verify(check, split=split, processes=processes, json=json)
    if out is None:
        raise UserError("--out is missing; say where the shards go, as in --out shards/mine.")
    source: Source
    if domain:
        source = sources.from_domains(
            arguments.folders(domain),
            split=split or "train",
            label=arguments.pattern(label_regex),
        )
    elif folders is not None:
        source = sources.from_root(folders, split=split, label=arguments.pattern(label_regex))
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
            faces or 0, arguments.names(domains) or DOMAINS, size=size, seed=seed, split=split
        )
    arguments.check_out(out, arguments.folders(domain or []), folders)
    form = Form(size, format, quality, shards, layout, fast_shrink)
    splits = choose(source, holdout=holdout, limits=arguments.limits(limit or []), seed=seed)
    images = sum(map(len, splits.values())) // mine.count
    count = arguments.process_count(processes, os.environ, images=images)
    written = _write(out, source, splits, form=form, part=mine, processes=count, force=force)
    return ExitCode.DONE if written is None else _report(out, written, allow_bad=allow_bad)


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


def _check_alone(part: Part, option: str) -> None:
    if part.count > 1:
        raise UserError(f"{option} is the work of one process; run it without a launcher.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _write(
    out: Path,
    source: Source,
    splits: dict[str, Records],
    *,
    form: Form,
    part: Part,
    processes: int,
    force: bool,
) -> Written | None:
    from srae_dist.data.open import unfit
    from srae_dist.data.workplace import PARTIAL
    from srae_dist.data.writer import write
    from srae_dist.recipe.schema import Model
    from srae_dist.runtime import console
    from srae_dist.runtime.signals import ctrl_c_kept

    for note in source.notes if part.number == 1 else ():
        console.info(note)
    if part.number == 1 and (reason := unfit(form.size, Model())):
        side = f"{form.size} x {form.size}"
        console.warn(f"training with default values refuses {side} images: {reason}.")
    try:
        with ctrl_c_kept():
            return write(
                out,
                source,
                splits,
                form=form,
                part=part,
                processes=processes,
                force=force,
                progress=functools.partial(console.progress, label="images"),
                tell=console.info,
            )
    except KeyboardInterrupt:
        if any((out / PARTIAL).glob("*.tar")):
            console.warn(f"finished shards wait in {out / PARTIAL}; the same command goes on.")
        raise


def _index(root: Path, *, domains: tuple[str, ...], split: str | None, force: bool) -> Written:
    from srae_dist.data.plain import index, list_tars
    from srae_dist.runtime import console

    with console.progress(len(list_tars(root)), "shards") as advance:
        return index(root, domains=domains or None, split=split, force=force, advance=advance)


def _verify(root: str, *, split: str | None, processes: int | None, json: Path | None) -> int:
    """Check a shard folder, show what was found, and return the exit code."""
    from srae_dist.core import atomic
    from srae_dist.data import arguments
    from srae_dist.data.check import check, plan, report
    from srae_dist.runtime import console

    if json is not None and json.is_dir():
        raise UserError(f"--json {json} is a folder; name a file.")
    planned = plan(root, split=split)
    images = sum(job.shard.samples for job in planned.jobs)
    count = arguments.process_count(processes, os.environ, images=images)
    with console.progress(len(planned.jobs), "shards") as advance:
        found = check(planned, processes=count, advance=advance)
    console.table(report.COLUMNS, report.rows_of(found), title=report.title_of(found))
    console.info(report.LEGEND)
    for remark in report.remarks_of(found):
        console.warn(remark)
    for problem in report.problems_of(found, most=_SHOWN):
        console.warn(problem)
    if json is not None:
        try:
            atomic.write_json(json, report.json_of(found))
        except OSError as error:
            raise UserError(
                f"--json {json} cannot be written: {error.strerror}; name another file."
            ) from None
    console.info(report.verdict_of(found))
    return ExitCode.DONE if found.sound else ExitCode.SOME_FAILED


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
    for name, *_ in rows:
        counts = made.splits[name].counts()
        few = [f"{counts[domain]} {domain}" for domain in made.domains if counts[domain] < _FEW]
        if few:
            console.warn(
                f"split {name} has only {' and '.join(few)}; training and evaluating want more of "
                "every domain: add images, or hold out another share."
            )
    if not written.bad:
        return ExitCode.DONE
    for bad in written.bad[:_SHOWN]:
        console.warn(f"cannot read {bad.origin}: {bad.reason}")
    count = len(written.bad)
    files = "1 file" if count == 1 else f"{count:,} files"
    console.warn(f"left out {files} that cannot be read, listed in {root / BAD_FILES}.")
    if count <= allow_bad:
        return ExitCode.DONE
    console.warn(
        f"the shards are complete without {'it' if count == 1 else 'them'} and can be used as they "
        f"are; the exit code is 1, and 0 with --allow-bad {count}, next time (--force makes them "
        "anew)."
    )
    return ExitCode.SOME_FAILED


def main() -> None:
    """Run this one command."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(shard)
    run(app)


if __name__ == "__main__":
    main()
