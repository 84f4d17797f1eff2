"""Measure a trained model: `srae-dist evaluate`, or on many ranks
`accelerate launch -m srae_dist.evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srae_dist.evaluate.plan import MEASURES


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder, a checkpoint folder or an ema.safetensors file."
        ),
    ],
    shards: Annotated[
        str, typer.Argument(metavar="SHARDS", help="A shard folder, or its URL, with both splits.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A measure to take: {', '.join(one.name for one in MEASURES)}. Repeatable. "
            "Default: all.",
        ),
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split that probes learn from.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split that is scored.")] = "test",
    per_domain: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=4,
            help="Images of each domain, of both splits, at most (default: 2000 to learn from, "
            "1000 to be scored).",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of every probe.")] = 3,
    vgg: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="VGG-16 of the distances: a safetensors file, torchvision, or random (default: "
            "the run's recipe's).",
        ),
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="FID's Inception weights, for FID and KID on them, too."),
    ] = None,
    lpips: Annotated[
        Path | None, typer.Option(metavar="FILE", help="AlexNet's weights, for LPIPS.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the report goes (default: RUN/evaluation)."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps (default: the rank's own).")
    ] = None,
) -> int:
    """Measure all that the paper shows; write report.html, report.json and figures/."""
    from srae_dist.evaluate.options import Options
    from srae_dist.evaluate.run import evaluate_all, prepare

    options = Options(
        run=run,
        shards=shards,
        only=tuple(only or ()),
        train_split=train_split,
        test_split=test_split,
        per_domain=per_domain,
        seeds=seeds,
        vgg=vgg,
        inception=inception,
        lpips=lpips,
        out=out,
        device=device,
    )
    job = prepare(options)

    from srae_dist.runtime.launch import join_world
    from srae_dist.translation.setup import find_device

    world = join_world()
    job.translator.to(find_device(device, default=world.device))
    return evaluate_all(job, world)


def main() -> None:
    """Run this one command."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(evaluate)
    run(app)
