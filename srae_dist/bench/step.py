"""``srae-dist bench step``: a training step against the naive one and the machine's ceiling."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.bench.data import Case, make_shards
from srae_dist.bench.naive import NaiveStep
from srae_dist.bench.parts import NAMES, Inputs, flops, parts
from srae_dist.bench.timing import Timing, Work, interleave, ratio, timed
from srae_dist.core.types import Batch
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.engine.networks import build_networks, compiles, loader_workers
from srae_dist.engine.players import make_optimizer, players
from srae_dist.engine.schedule import term_weights
from srae_dist.engine.step import Stepper
from srae_dist.model.ema import Ema
from srae_dist.recipe.schema import Recipe
from srae_dist.runtime.launch import World, choose_precision, make_accelerator

CEILING_REPEATS = 5
_FOREVER = 1 << 40  # steps


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured; times are microseconds an image."""

    times: dict[str, Timing]
    flop: dict[str, float]  # of each part, an image
    ceiling: float  # FLOP/s of a 3 x 3 convolution
    waiting: float  # share of our step's time that it waited for the loader
    first_losses: dict[str, tuple[float, float]]  # of the first step: naive, ours
    setting: dict[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """Return the numbers that promises are made of."""
        ours, total = self.times["ours"], sum(self.flop.values())
        reached = total / ours.median * 1e6
        return {
            **self.setting,
            "ratio_to_naive": ratio(self.times["naive"], ours),
            "images_per_s": {name: self.times[name].per_second for name in ("naive", "ours")},
            "flop_per_image": total,
            "flop_per_s": reached,
            "ceiling_flop_per_s": self.ceiling,
            "share_of_ceiling": reached / self.ceiling,
            "loader_wait": self.waiting,
            "first_losses": {
                name: {"naive": naive, "ours": mine}
                for name, (naive, mine) in self.first_losses.items()
            },
            "microseconds": {name: list(timing.rounds) for name, timing in self.times.items()},
        }


class OurStep:
    """Our engine on batches of a real loader; notes how long it waited for them."""

    def __init__(self, stepper: Stepper, batches: Iterator[Batch]) -> None:
        self.stepper = stepper
        self.waited, self.worked = 0.0, 0.0
        self._batches = batches
        self._count = 0

    def take(self, steps: int) -> int:
        """Take some steps; returns the images seen."""
        images, begun = 0, time.perf_counter()
        for _ in range(steps):
            images += len(self.stepper.take(self._count, self.watched()).keys)
            self._count += 1
        finish(self.stepper.accelerator.device)
        self.worked += time.perf_counter() - begun
        return images

    def watched(self) -> Iterator[Batch]:
        """Yield the loader's batches, and note the time waited for them."""
        while True:
            begun = time.perf_counter()
            batch = next(self._batches)
            self.waited += time.perf_counter() - begun
            yield batch


def run(
    recipe: Recipe,
    world: World,
    *,
    rounds: int,
    steps: int,
    advance: Callable[[int], None],
) -> Result:
    """Measure the recipe's step on built-in faces, on one process; ``steps`` a round each."""
    size, batch = recipe.data.image_size or 64, recipe.train.global_batch
    precision = choose_precision(recipe.train.precision, world.device)
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="srae_dist-bench-"))
        case = Case("step", size, "jpg", 80, longer=1)
        make_shards(case, Path(name), images=max(512, 4 * batch), folders=None)
        opened = open_split(name, "train")
        ours = our_step(stack, recipe, world, opened, precision)
        stepper = ours.stepper
        inputs = _inputs(opened, recipe, stepper.accelerator.device)
        weights = term_weights(0, stepper.objective.term_names, recipe.objective)
        naive = NaiveStep(stepper.objective, recipe.train, weights=weights)
        pieces = parts(stepper, inputs, bf16=precision == "bf16")
        first = _first_losses(naive, stepper, inputs, weights)
        works: dict[str, Work] = {
            "naive": _repeated(lambda: naive.take(*inputs), inputs, steps=1),
            "ours": timed(lambda: ours.take(steps)),
            **{name: _repeated(part, inputs, steps=steps) for name, part in pieces.items()},
        }
        times = interleave(works, rounds=rounds, advance=advance)
        flop = {name: flops(part) / batch for name, part in pieces.items()}
        return Result(
            times,
            flop,
            ceiling(world.device, bf16=precision == "bf16"),
            ours.waited / ours.worked,
            first,
            {
                "recipe": recipe.name,
                "image_size": size,
                "batch": batch,
                "precision": precision,
                "device": str(world.device),
                "threads": torch.get_num_threads(),
                "compiled": compiles(recipe.engine.compile, world.device),
                "loader_workers": loader_workers(recipe.data.workers, local_ranks=1),
                "parameters": sum(p.numel() for p in stepper.objective.autoencoder.parameters()),
            },
        )


def batch_for(device: torch.device) -> int:
    """Return how many images a step has unless told otherwise."""
    return 512 if device.type == "cuda" else 32


def count_works(recipe: Recipe) -> int:
    """Return how many things are measured in a round."""
    return len(NAMES) + 2 - (not recipe.objective.critic_weight)


def ceiling(device: torch.device, *, bf16: bool) -> float:
    """FLOP/s of a 3 x 3 convolution, 256 to 256 channels on 16 x 16 pixels, best of five."""
    count = 1024 if device.type == "cuda" else 32
    kind = torch.bfloat16 if bf16 else torch.float32

    def ones(*shape: int) -> Tensor:
        made = torch.ones(shape, device=device, dtype=kind)
        return made.contiguous(memory_format=torch.channels_last)

    x, weight = ones(count, 256, 16, 16), ones(256, 256, 3, 3)
    work = 2 * count * 16 * 16 * 256 * 256 * 9
    best = float("inf")
    with torch.no_grad():
        for _ in range(CEILING_REPEATS + 1):
            begun = time.perf_counter()
            for _ in range(5):
                F.conv2d(x, weight, padding=1)
            finish(device)
            best = min(best, (time.perf_counter() - begun) / 5)
    return work / best


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Lay a result out as columns and rows."""
    columns = ["", "ms/image", "quartiles", "of the step", "GFLOP/image", "GFLOP/s", "of ceiling"]
    whole = result.times["ours"].median
    rows = []
    for name in (*result.flop, "ours", "naive"):
        timing = result.times[name]
        flop = result.flop.get(name, sum(result.flop.values()) if name == "ours" else 0.0)
        speed = flop / timing.median * 1e6
        rows.append(
            [
                name,
                f"{timing.median / 1e3:.3f}",
                f"{timing.spread:.0%}",
                f"{timing.median / whole:.0%}",
                f"{flop / 1e9:.2f}" if flop else "",
                f"{speed / 1e9:,.0f}" if flop else "",
                f"{speed / result.ceiling:.2f}" if flop else "",
            ]
        )
    return columns, rows


def remarks(result: Result) -> tuple[str, ...]:
    """Say in words what the table does not."""
    setting, values = result.setting, result.values
    losses = ", ".join(
        f"{name} {naive:.4f} and {mine:.4f}" for name, (naive, mine) in result.first_losses.items()
    )
    return (
        f"Recipe {setting['recipe']}, {setting['image_size']} px, batches of {setting['batch']}, "
        f"{setting['precision']}, {setting['device']}, {setting['threads']} threads.",
        f"{values['ratio_to_naive']:.2f} times as fast as the naive step (median of the rounds' "
        f"own ratios). A 3 x 3 convolution reaches {result.ceiling / 1e9:,.0f} GFLOP/s; the step "
        f"{values['share_of_ceiling']:.2f} of that. It waited {result.waiting:.1%} of the time "
        "for the loader.",
        f"Losses of the first step, naive and ours: {losses}.",
    )


def our_step(
    stack: ExitStack, recipe: Recipe, world: World, opened: OpenSplit, precision: str
) -> OurStep:
    """Build the recipe's step on one process, with a loader that ``stack`` closes."""
    objective = build_networks(
        recipe, opened.image_size, num_domains=len(opened.manifest.domains)
    ).to(world.device)
    if compiles(recipe.engine.compile, world.device):
        objective.compile()
    stepper = Stepper(
        make_accelerator(precision=precision, accumulation=1, trackers=[], run_dir=Path()),
        objective,
        make_optimizer(players(objective), recipe.train),
        Ema(objective.autoencoder),
        accumulation=1,
        train=recipe.train,
        weights=recipe.objective,
    )
    workers = loader_workers(recipe.data.workers, local_ranks=1)
    batches = _loader(
        opened, recipe, stop=_FOREVER, workers=workers, pin=world.device.type == "cuda"
    )
    return OurStep(stepper, stack.enter_context(closing(batches)))


def _loader(
    opened: OpenSplit, recipe: Recipe, *, stop: int, workers: int, pin: bool
) -> Generator[Batch, None, None]:
    batch = recipe.train.global_batch
    return make_loader(
        opened,
        make_order(opened, seed=0, global_batch=batch, balance="domain", lanes=None, window=1024),
        rank=0,
        world=1,
        micro_batch=batch,
        start_step=0,
        stop_step=stop,
        workers=workers,
        pin=pin,
    )


def _inputs(opened: OpenSplit, recipe: Recipe, device: torch.device) -> Inputs:
    """Return one batch, on the device."""
    loader = _loader(opened, recipe, stop=1, workers=0, pin=False)
    with closing(loader):
        first = next(loader).to(device)
    return first.images, first.domains, first.slots


def _first_losses(
    naive: NaiveStep, stepper: Stepper, inputs: Inputs, weights: list[float]
) -> dict[str, tuple[float, float]]:
    """Return the losses of both, from the same weights, on the same batch."""
    device = stepper.accelerator.device
    with torch.no_grad():
        _, ours = stepper.wrapped(*inputs, torch.tensor(weights, device=device))
    theirs = naive.take(*inputs)
    return {name: (float(theirs[name]), float(ours[name])) for name in stepper.objective.table}


def _repeated(work: Callable[[], object], inputs: tuple[Tensor, ...], *, steps: int) -> Work:
    images, device = len(inputs[0]), inputs[0].device

    def repeat() -> int:
        for _ in range(steps):
            work()
        finish(device)
        return steps * images

    return timed(repeat)


def finish(device: torch.device) -> None:
    """Wait until a GPU has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
