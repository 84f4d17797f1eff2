"""A training step on a GPU: eager, compiled, with CUDA graphs; who waits for whom; which kernels.

    python benchmarks/gpu.py [--batch 512] [--variants eager,compiled,graphs] [--set KEY=VALUE]

Variants take turns, so that their ratios hold on a machine that others use, too. *graphs* is
torch.compile with mode "reduce-overhead". Then, for each: the operations at which the host waited
for the device in steps between logs (there should be none), and the kernels that its time went to.
`srae-dist bench step` compares with the naive step and takes the step apart. Without a GPU the
same is measured of the CPU, to see that the script works; graphs and waits are a GPU's alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from srae_dist.bench import record
from srae_dist.bench.data import Case, make_shards
from srae_dist.bench.step import OurStep, batch_for, ceiling, finish, our_step
from srae_dist.bench.timing import Timing, interleave, ratio, timed
from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.data.opened import open_split
from srae_dist.recipe.load import load_recipe
from srae_dist.recipe.schema import Recipe
from srae_dist.runtime import console
from srae_dist.runtime.launch import World, choose_precision, join_world

ROOT = Path(__file__).parents[1]
MODES: dict[str, dict[str, Any] | None] = {
    "eager": None,
    "compiled": {},
    "graphs": {"mode": "reduce-overhead"},
    "autotuned": {"mode": "max-autotune-no-cudagraphs"},
}
WATCHED = 10  # steps in which the host must not wait, and that are profiled
KERNELS = 12  # rows of their table


@dataclass(slots=True)
class Variant:
    """One way to run the step, and what is found of it."""

    step: OurStep
    first: float  # seconds of the first step, with all compiling
    memory: float  # GiB at most, of the GPU; 0 on a CPU
    waits: list[str]
    kernels: list[tuple[str, int, float]]  # name, calls and seconds in WATCHED steps
    busy: float  # share of the time that kernels ran


def main() -> None:
    """Measure, show and write down."""
    given = arguments()
    overrides = [*given.set, "perceptual.weights=random", f"data.image_size={given.size}"]
    recipe = load_recipe(Path(given.recipe), overrides=overrides).recipe
    world = join_world(recipe.engine.threads)
    batch = given.batch or batch_for(world.device)
    recipe = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"global_batch": batch}),
            "engine": recipe.engine.model_copy(update={"compile": "off"}),
        }
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srae_dist-bench-")))
        case = Case("step", given.size, "jpg", 80, longer=1)
        make_shards(case, folder, images=max(512, 4 * batch), folders=None)
        variants = {}
        for name in given.variants:
            console.info(f"{name}: building, first steps")
            variants[name] = build(stack, name, recipe, world, folder)
        flop = flops(next(iter(variants.values())).step) / batch
        works = {
            name: timed(lambda v=variant: v.step.take(given.steps))
            for name, variant in variants.items()
        }
        times = interleave(works, rounds=given.rounds)
        for name, variant in variants.items():
            console.info(f"{name}: watching {WATCHED} steps")
            watch(variant, world.device)
    tell(variants, times, flop, recipe, world, given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="ffhq_getchu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--size", type=int, default=64, choices=(32, 64, 128, 256), help="pixels")
    parser.add_argument("--batch", type=positive, help="images a step (default 512; on a CPU 32)")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--steps", type=positive, default=10, help="steps a round")
    parser.add_argument(
        "--variants", type=chosen, default=["eager", "compiled", "graphs"], help=", ".join(MODES)
    )
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks", metavar="DIR")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds is at least 2, or there is no spread.")
    return given


def positive(word: str) -> int:
    if (number := int(word)) < 1:
        raise ValueError
    return number


def chosen(words: str) -> list[str]:
    names = words.split(",")
    if unknown := sorted(set(names) - MODES.keys()):
        raise argparse.ArgumentTypeError(f"no variant {unknown[0]!r}; there are {', '.join(MODES)}")
    return names


def build(stack: ExitStack, name: str, recipe: Recipe, world: World, shards: Path) -> Variant:
    """Build the step of a variant and take its first steps, which compile it."""
    gpu = world.device.type == "cuda"
    before = torch.cuda.memory_allocated() if gpu else 0  # by the variants that were built already
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    precision = choose_precision(recipe.train.precision, world.device)
    step = our_step(stack, recipe, world, open_split(str(shards), "train"), precision)
    if (options := MODES[name]) is not None:
        step.stepper.objective.compile(**options)
    begun = time.perf_counter()
    step.take(1)
    first = time.perf_counter() - begun
    step.take(3)
    step.waited = step.worked = 0.0
    peak = torch.cuda.max_memory_allocated() if gpu else 0
    return Variant(step, first, (peak - before) / 2**30, [], [], 0.0)


def flops(step: OurStep) -> int:
    """Floating-point operations of a step's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        step.take(1)
    return int(counter.get_total_flops())


def watch(variant: Variant, device: torch.device) -> None:
    """Note where the host waits for the GPU, and what the GPU does."""
    gpu = device.type == "cuda"
    if gpu:
        variant.waits = waits(variant.step)
    kinds = [ProfilerActivity.CUDA, ProfilerActivity.CPU] if gpu else [ProfilerActivity.CPU]
    with profile(activities=kinds) as seen:
        begun = time.perf_counter()  # within: the profiler takes its time to begin and to end
        variant.step.take(WATCHED)
        wall = time.perf_counter() - begun
    spent = "self_device_time_total" if gpu else "self_cpu_time_total"
    found = [
        (e.key, int(e.count), getattr(e, spent) / 1e6)
        for e in seen.key_averages()  # an operator of the CPU has its kernels' time, too: not twice
        if not gpu
        or (e.device_type != DeviceType.CPU and not getattr(e, "is_user_annotation", False))
    ]
    variant.kernels = sorted((k for k in found if k[2] > 0), key=lambda k: -k[2])
    variant.busy = sum(seconds for _, _, seconds in variant.kernels) / wall


def waits(step: OurStep) -> list[str]:
    """What makes the host wait for the GPU within steps, as torch warns of it."""
    finish(step.stepper.accelerator.device)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for number in range(WATCHED):
                step.stepper.take(number, step.watched())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(w.filename).name}:{w.lineno}" for w in told if "synchroniz" in str(w.message)]


def tell(
    variants: dict[str, Variant],
    times: dict[str, Timing],
    flop: float,
    recipe: Recipe,
    world: World,
    given: argparse.Namespace,
) -> None:
    """Show the tables and write the dated result."""
    precision = choose_precision(recipe.train.precision, world.device)
    top = ceiling(world.device, bf16=precision == "bf16")
    base = next(iter(times.values()))
    columns = ["", "ms/image", "quartiles", "images/s", "times the first", "of ceiling"]
    columns += ["loader wait", "first step, s", "GiB", "kernels run", "host waits"]
    rows, values = [], {}
    for name, variant in variants.items():
        timing, step = times[name], variant.step
        share = flop * timing.per_second / top
        rows.append(
            [
                name,
                f"{timing.median / 1e3:.4f}",
                f"{timing.spread:.0%}" if given.rounds > 2 else "-",
                f"{timing.per_second:,.0f}",
                f"{ratio(base, timing):.2f}",
                f"{share:.2f}",
                f"{step.waited / step.worked:.1%}",
                f"{variant.first:.1f}",
                f"{variant.memory:.1f}",
                f"{variant.busy:.0%}",
                str(len(variant.waits)) if world.device.type == "cuda" else "-",
            ]
        )
        values[name] = {
            "microseconds": list(timing.rounds),
            "images_per_s": timing.per_second,
            "ratio_to_first": ratio(base, timing),
            "share_of_ceiling": share,
            "loader_wait": step.waited / step.worked,
            "first_step_s": variant.first,
            "peak_gib": variant.memory,
            "busy": variant.busy,
            "host_waits": variant.waits,
            "kernels": [list(kernel) for kernel in variant.kernels[:50]],
        }
    device = torch.cuda.get_device_name() if world.device.type == "cuda" else "cpu"
    remarks = [
        f"Recipe {recipe.name}, {given.size} px, batches of {recipe.train.global_batch}, "
        f"{precision}, {device}. {flop / 1e9:.2f} GFLOP an image; a 3 x 3 convolution reaches "
        f"{top / 1e12:.1f} TFLOP/s. Host waits and kernels are of {WATCHED} steps.",
        *(line for name, variant in variants.items() for line in kernels(name, variant)),
    ]
    console.table(columns, rows, title="one training step, forward, backward and update")
    for line in remarks:
        console.info(line)
    facts = {"device_name": device, "ceiling_flop_per_s": top, "flop_per_image": flop}
    facts |= {"batch": recipe.train.global_batch, "precision": precision}
    values = {**facts, "variants": values}
    path = record.write(
        given.record, "gpu", columns=columns, rows=rows, values=values, remarks=remarks
    )
    if given.json is not None:
        atomic.write_json(given.json, values)
    console.info(f"Written to {path}.")


def kernels(name: str, variant: Variant) -> list[str]:
    """Lines of a Markdown table: what the time went to."""
    whole = sum(seconds for _, _, seconds in variant.kernels) or 1.0
    lines = ["", f"| {name}: kernel | calls a step | of the time |", "| --- | --- | --- |"]
    for kernel, calls, seconds in variant.kernels[:KERNELS]:
        short = kernel.replace("|", "/")[:90]
        lines.append(f"| `{short}` | {calls / WATCHED:.1f} | {seconds / whole:.1%} |")
    if variant.waits:
        lines += ["", f"{name}: the host waited at {', '.join(sorted(set(variant.waits)))}."]
    return lines


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        console.error(str(error))
        sys.exit(int(error.exit_code))
