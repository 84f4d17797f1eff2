"""`srae-dist classify`: how well a code tells a label (paper, Sec. 4.3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srae_dist.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from srae_dist.data.opened import OpenSplit
    from srae_dist.evaluation.section import Section
    from srae_dist.translation.translator import Translator


def classify(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint folder or an ema.safetensors file."
        ),
    ],
    shards: Annotated[
        str, typer.Argument(metavar="SHARDS", help="A shard folder, or its URL, with both splits.")
    ],
    from_: Annotated[
        Literal["domain", "content", "both"],
        typer.Option("--from", help="Code that is read."),
    ] = "domain",
    label: Annotated[
        str, typer.Option(metavar="NAME", help="What is told: domain, or a label of the shards.")
    ] = "domain",
    probe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A classifier: linear, mlp or knn. Repeatable. Default: all."
        ),
    ] = None,
    prior: Annotated[
        Literal["natural", "equal"],
        typer.Option(help="How likely a class is: as often as in training, or all alike."),
    ] = "natural",
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Also by the nearest class mean, and by means moved to the images that are "
            "scored (without their labels).",
        ),
    ] = False,
    views: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="Views of every image that codes are averaged over: as it is, and N - 1 changed "
            "at random as in training (data.crop, light, flip).",
        ),
    ] = 1,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split that is scored.")] = "test",
    per_domain: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images of each domain at most (default: all)."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of every classifier.")] = 3,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers here, too.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps (default: a GPU if there is one).")
    ] = None,
) -> None:
    """Fit classifiers to codes of training images and score them on others.

    Which classifier counts is chosen by cross-validation on the training codes, never by the
    images that are scored.
    """
    names = _chosen(probe)
    if train_split == test_split:
        raise UserError(
            f"--train-split and --test-split are both '{test_split}'; images that a classifier "
            "has learnt from prove nothing, so choose two."
        )
    if json is not None and json.is_dir():
        raise UserError(f"--json {json} is a folder; name a file.")

    from srae_dist.data.opened import open_split
    from srae_dist.evaluate.encoding import domain_numbers, encode_split
    from srae_dist.evaluate.one_core import one_core
    from srae_dist.evaluate.views import Views
    from srae_dist.evaluation.classification import classify as measure
    from srae_dist.runtime import checkpoint
    from srae_dist.translation.setup import find_device
    from srae_dist.translation.translator import load

    file = checkpoint.resolve(run)
    splits = [open_split(shards, name) for name in (train_split, test_split)]
    translator = load(file)
    for split in splits:  # both, before the first is encoded
        domain_numbers(translator, split)
    translator.to(find_device(device, default=translator.device))
    show = Views(translator, views)
    train, test = (
        encode_split(translator, split, per_domain=per_domain, views=show) for split in splits
    )
    with one_core():
        section = measure(
            train,
            test,
            code=from_,
            label=label,
            seeds=seeds,
            prior=prior,
            names=names,
            adapt=adapt,
        )
    _show(section, views)
    if json is not None:
        _save(json, section, file, translator, splits, views)


def _chosen(probes: list[str] | None) -> tuple[str, ...]:
    """Return the kinds of classifiers asked for, each once, in the table's order."""
    known = ("linear", "mlp", "knn")
    for name in probes or ():
        if name not in known:
            raise UserError(
                f"--probe '{name}' is no classifier; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    return tuple(name for name in known if not probes or name in probes)


def _show(section: Section, views: int) -> None:
    from srae_dist.runtime import console

    console.info(section.title)
    console.info(section.text)
    if views > 1:
        console.info(f"Codes are means over {views} views of every image, changed as in training.")
    for table in section.tables:
        console.table(table.columns, table.rows, title=table.title)


def _save(
    json: Path,
    section: Section,
    file: Path,
    translator: Translator,
    splits: list[OpenSplit],
    views: int,
) -> None:
    """Write the values, and what they are of."""
    from srae_dist.core import atomic
    from srae_dist.runtime import console

    facts = {
        "checkpoint": str(file),
        "step": translator.step,
        "shards": splits[0].store.name,
        "views": views,
        "splits": {"train": splits[0].name, "test": splits[1].name},
    }
    try:
        atomic.write_json(json, {**facts, **section.values})
    except OSError as error:
        raise UserError(f"--json {json} cannot be written: {error.strerror}.") from None
    console.info(f"Written to {json}.")
