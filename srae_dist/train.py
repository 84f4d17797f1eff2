"""``accelerate launch -m srae_dist.train RECIPE``: build everything a run needs, and run it.

Running the same command again resumes from the newest complete checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srae_dist import __version__
from srae_dist.core.errors import ExitCode, UserError

if TYPE_CHECKING:
    from srae_dist.data.opened import OpenSplit
    from srae_dist.data.order import Order
    from srae_dist.engine.batching import Batching
    from srae_dist.engine.loop import Outcome
    from srae_dist.engine.run_hooks import RunHooks
    from srae_dist.engine.step import Stepper
    from srae_dist.objective.objective import Objective
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime.launch import World
    from srae_dist.runtime.live import TrainDisplay
    from srae_dist.runtime.signals import StopRequest

HELD_OUT = "test"  # the split whose images the grids show, where the shards have it


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything settled before the first step."""

    recipe: Recipe
    data: OpenSplit  # what is trained on
    order: Order
    world: World
    batching: Batching
    precision: str
    objective: Objective
    checkpoint: Path | None  # to resume from
    state: dict[str, Any]  # the checkpoint's counters; empty at the beginning

    @property
    def image_size(self) -> int:
        """Pixels of the square images."""
        return self.data.image_size

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.recipe.run_dir)

    @property
    def start(self) -> int:
        """Steps done so far."""
        return int(self.state.get("step", 0))


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of one in recipes/.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. train.steps=500."),
    ] = None,
) -> int:
    """Train an SRAE as a recipe says; the same command resumes it."""
    from srae_dist.data.open import open_shards
    from srae_dist.recipe.load import load_recipe

    loaded = load_recipe(Path(recipe), overrides=set_ or []).recipe
    open_shards(loaded.data, model=loaded.model)

    from srae_dist.runtime import exit_file
    from srae_dist.runtime.launch import join_world

    world = join_world(loaded.engine.threads)
    with exit_file.recording_errors(Path(loaded.run_dir), enabled=world.is_main):
        return train_run(loaded, world)


def train_run(recipe: Recipe, world: World) -> int:
    """Train to the end, or to a stop; return the exit code."""
    from srae_dist.data.order import check_ranks
    from srae_dist.engine.fit import settle_batching
    from srae_dist.engine.networks import build_networks
    from srae_dist.runtime.launch import choose_precision
    from srae_dist.runtime.lock import locked
    from srae_dist.runtime.signals import StopRequest

    run_dir = Path(recipe.run_dir)
    data = open_data(recipe, recipe.data.split)
    size, order = data.image_size, order_of(recipe, data)
    precision = choose_precision(recipe.train.precision, world.device)
    objective = build_networks(recipe, size, num_domains=len(data.manifest.domains))
    with locked(run_dir) if world.is_main else contextlib.nullcontext():
        folder, state = find_checkpoint(recipe, run_dir)
        check_same_start(run_dir, int(state.get("step", 0)), world)
        batching = settle_batching(
            recipe, world, objective, precision, saved=int(state.get("micro_batch", 0))
        )
        check_ranks(order, micro_batch=batching.micro_batch, ranks=world.size)
        if world.device.type == "cpu" and int(state.get("step", 0)) < recipe.train.steps:
            threads = settle_threads(recipe, world, objective, batching, precision, state)
            world = dataclasses.replace(world, threads=threads)
        plan = Plan(recipe, data, order, world, batching, precision, objective, folder, state)
        if plan.start >= recipe.train.steps:
            return say_finished(plan)
        if world.is_main:
            introduce(plan)
            record_start(plan)
        # once a rank has left, the launcher sends SIGTERM to those that are still writing their end
        with StopRequest(launched=world.launched) as stop:
            return finish(plan, run_plan(plan, stop))


def open_data(recipe: Recipe, split: str) -> OpenSplit:
    """Open a split of the recipe's shards."""
    from srae_dist.data.opened import open_split

    data = recipe.data
    cache = None if data.cache_dir is None else Path(data.cache_dir).expanduser()
    return open_split(data.root, split, cache_dir=cache, cache_gb=data.cache_gb)


def order_of(recipe: Recipe, data: OpenSplit) -> Order:
    """Return the order of training."""
    from srae_dist.data.loader import make_order

    return make_order(
        data,
        seed=recipe.run.seed,
        global_batch=recipe.train.global_batch,
        balance=recipe.data.balance,
        lanes=recipe.data.lanes,
        window=recipe.data.window,
    )


def settle_threads(
    recipe: Recipe,
    world: World,
    objective: Objective,
    batching: Batching,
    precision: str,
    state: dict[str, Any],
) -> int:
    """Set this rank's CPU threads: the recipe's, a resumed run's, or the faster of two."""
    import torch

    from srae_dist.engine.probe import step_seconds
    from srae_dist.runtime import console
    from srae_dist.runtime.threads import choose

    settled = recipe.engine.threads or state.get("threads")
    if settled is not None:
        torch.set_num_threads(int(settled))
        return int(settled)
    if world.threads == 1:
        return 1
    best, seconds = choose(
        world.threads,
        lambda: step_seconds(
            objective,
            micro_batch=batching.micro_batch,
            image_size=objective.autoencoder.image_size,
            bf16=precision == "bf16",
        ),
    )
    if world.is_main and best < world.threads:
        console.info(
            f"{world.threads} threads are slower than {best} here ({seconds[world.threads]:.2f} s "
            f"against {seconds[best]:.2f} s for {batching.micro_batch} images): the cores are busy "
            "with other work. Set engine.threads to decide yourself."
        )
    return best


def find_checkpoint(recipe: Recipe, run_dir: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the newest complete checkpoint and its counters, or (None, {}).

    Raises:
        UserError: the run was started with values that may not change.
    """
    from srae_dist.recipe.save import differences
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime import checkpoint

    folder = checkpoint.newest(run_dir / "checkpoints")
    if folder is None:
        return None, {}
    state = checkpoint.read_state(folder)
    try:
        old = Recipe.model_validate_json(json.dumps(state["recipe"]))
    except (KeyError, ValueError):
        raise UserError(f"{folder} was written by another version; use a new run.dir.") from None
    changed = differences(old, recipe)
    if changed:
        raise UserError(
            f"{run_dir} was started with other values: {'; '.join(changed)}; "
            "take them back, or start a new run with --set run.dir=DIR."
        )
    return folder, state


def check_same_start(run_dir: Path, step: int, world: World) -> None:
    """Check that all ranks found the same checkpoint; all ranks call it together.

    Raises:
        UserError: they did not, so their run folders are not one.
    """
    from srae_dist.runtime.launch import least

    first, last = least(step, world), -least(-step, world)
    if first != last:
        raise UserError(
            f"{run_dir} is at step {last:,} for some ranks and at step {first:,} for others; put "
            "run.dir on a disk that all machines share."
        )


def record_start(plan: Plan) -> None:
    """Write the resolved recipe beside the run; what is not over has no ``exit.json``."""
    from srae_dist.core import atomic, disk
    from srae_dist.recipe.save import recipe_to_toml
    from srae_dist.runtime import exit_file

    path = plan.run_dir / "recipe.toml"
    with disk.told(path):
        atomic.write_text(path, recipe_to_toml(plan.recipe))
        (plan.run_dir / exit_file.NAME).unlink(missing_ok=True)


def run_plan(plan: Plan, stop: StopRequest) -> Outcome:
    """Wire the engine together and run its loop."""
    import torch

    from srae_dist.core import disk
    from srae_dist.data.loader import BadSampleError, make_loader
    from srae_dist.engine import loop, players, snapshot
    from srae_dist.engine.networks import compiles, loader_workers
    from srae_dist.engine.step import Stepper
    from srae_dist.model.ema import Ema
    from srae_dist.runtime.launch import make_accelerator
    from srae_dist.runtime.live import TrainDisplay

    recipe, world, objective = plan.recipe, plan.world, plan.objective
    accelerator = make_accelerator(
        precision=plan.precision,
        accumulation=plan.batching.accumulation,
        trackers=recipe.run.trackers,
        run_dir=plan.run_dir,
    )
    objective.to(accelerator.device)
    if recipe.engine.deterministic:
        torch.use_deterministic_algorithms(True)
    if compiles(recipe.engine.compile, world.device):
        objective.compile()
    stepper = Stepper(
        accelerator,
        objective,
        players.make_optimizer(players.players(objective), recipe.train),
        Ema(objective.autoencoder),
        accumulation=plan.batching.accumulation,
        train=recipe.train,
        weights=recipe.objective,
    )
    if plan.checkpoint is not None:
        snapshot.restore(stepper, plan.checkpoint)
        if accelerator.scaler is not None and plan.state.get("scaler"):
            accelerator.scaler.load_state_dict(plan.state["scaler"])
    accelerator.init_trackers("tensorboard")
    batches = make_loader(
        plan.data,
        plan.order,
        rank=world.rank,
        world=world.size,
        micro_batch=plan.batching.micro_batch,
        start_step=plan.start,
        stop_step=recipe.train.steps,
        workers=loader_workers(recipe.data.workers, local_ranks=world.local_size),
        pin=world.device.type == "cuda",
        substitute=recipe.data.on_bad == "substitute",
    )
    with TrainDisplay(
        recipe.name, start=plan.start, steps=recipe.train.steps, shown=world.is_main
    ) as display:
        hooks = build_hooks(plan, stepper, display)
        if world.is_main:
            hooks.log.cut(plan.start)
            hooks.bad_samples.log.cut(plan.start)
            note_ranks(plan, hooks)
            disk.check_room(
                plan.run_dir, snapshot.full_size(stepper), what="a checkpoint of this run"
            )
        try:
            outcome = loop.run(
                stepper,
                hooks.bad_samples.watch(batches),
                hooks,
                stop,
                start=plan.start,
                train=recipe.train,
                patience=recipe.run.patience,
                skipped=hooks.skipped,
            )
        except BadSampleError as error:  # this rank alone knows, so it writes it down itself
            step = error.slot // recipe.train.global_batch + 1
            hooks.bad_samples.log.write(step, error.bad._asdict())
            raise
    accelerator.end_training()
    return outcome


def build_hooks(plan: Plan, stepper: Stepper, display: TrainDisplay) -> RunHooks:
    """Gather what surrounds the loop: log, display, fixed images, checkpoint contents."""
    from srae_dist.data.reader import take
    from srae_dist.engine import showcase
    from srae_dist.engine.bad_samples import BadSamples
    from srae_dist.engine.run_hooks import RunHooks
    from srae_dist.recipe.save import recipe_without_paths
    from srae_dist.runtime.runlog import RunLog

    recipe, data, manifest = plan.recipe, plan.data, plan.data.manifest

    def read_of(split: OpenSplit) -> showcase.Read:
        reader = split.reader()
        return reader.read if recipe.data.on_bad == "error" else reader.read_good

    held_out = data
    if HELD_OUT in manifest.splits and recipe.data.split != HELD_OUT:
        held_out = open_data(recipe, HELD_OUT)
    shown = showcase.pick_evenly(held_out.index.domain, len(manifest.domains), showcase.COLUMNS)
    picks = showcase.pick_evenly(
        data.index.domain, len(manifest.domains), recipe.train.mean_code_images
    )
    read_shown = read_of(held_out)
    return RunHooks(
        run_dir=plan.run_dir,
        stepper=stepper,
        log=RunLog(plan.run_dir / "log.jsonl"),
        display=display,
        domains=manifest.domains,
        read=read_of(data),
        index=data.index,
        picks=picks,
        shown=[read_shown(take(held_out.index, samples)) for samples in shown],
        metadata={
            "domains": list(manifest.domains),
            "image_size": plan.image_size,
            "recipe": recipe_without_paths(recipe),
        },
        state={
            "recipe": recipe.model_dump(mode="json"),
            "micro_batch": plan.batching.micro_batch,
            "ranks": plan.world.size,
            "threads": plan.world.threads,
            "srae_dist": __version__,
        },
        keep_last=recipe.run.keep_last,
        bad_samples=BadSamples(
            plan.run_dir,
            budget=recipe.data.bad_budget,
            known=plan.state.get("bad_samples", ()),
        ),
        skipped=int(plan.state.get("skipped", 0)),
    )


def introduce(plan: Plan) -> None:
    """Say what is about to run, on what, and from where."""
    from srae_dist.runtime import console

    recipe, model, size = plan.recipe, plan.recipe.model, plan.image_size
    counts = plan.data.split.counts()
    images = ", ".join(f"{counts[name]:,} {name}" for name in plan.data.manifest.domains)
    parameters = sum(p.numel() for p in plan.objective.autoencoder.parameters()) / 1e6
    weights = recipe.perceptual.weights
    if weights == "random":
        weights = "RANDOM weights (nothing pretrained; fine to try things, not for results)"
    begin = f"resumes at step {plan.start:,}" if plan.start else "starts"
    console.facts(
        f"srae_dist {__version__}: {recipe.name}",
        {
            "machine": plan.world.describe(),
            "precision": f"{plan.precision} (train.precision = {recipe.train.precision})",
            "batch": plan.batching.describe(plan.world.size),
            "data": f"{plan.data.store.name}: {images}; {size} x {size}, "
            f"balance {recipe.data.balance}",
            "model": f"{parameters:.2f} M parameters; z_c {model.content_channels} x "
            f"{model.code_size} x {model.code_size}, z_d {model.domain_channels}; "
            f"{recipe.objective.discriminators} discriminator"
            f"{'s' * (recipe.objective.discriminators > 1)}",
            "perceptual": f"VGG-16 {', '.join(recipe.perceptual.layers)}, {weights}",
            "run": f"{begin}, {recipe.train.steps:,} steps in all; folder {recipe.run_dir}",
        },
    )
    before, now = plan.state.get("ranks"), plan.world.size
    if before not in (None, now):
        console.info(
            f"The run was on {before} ranks and is on {now} now: "
            "the same samples in the same order, losses equal to rounding."
        )


def note_ranks(plan: Plan, hooks: RunHooks) -> None:
    """Say in the log that from here on losses equal those of other ranks to rounding alone."""
    from srae_dist.runtime.runlog import RESUMED

    before, now = plan.state.get("ranks"), plan.world.size
    if before not in (None, now):
        hooks.log.write(plan.start, {RESUMED: True, "ranks": now, "ranks_before": before})


def finish(plan: Plan, outcome: Outcome) -> int:
    """Say how the run ended, write ``exit.json``, return the exit code."""
    from srae_dist.engine.bad_samples import NAME as BAD_SAMPLES
    from srae_dist.engine.loop import End
    from srae_dist.runtime import console, exit_file

    run_dir = plan.run_dir
    if outcome.end is End.BAD_DATA:
        if not plan.world.is_main:
            return ExitCode.USER  # one sentence is enough
        raise UserError(
            f"Step {outcome.step:,}: {outcome.reason}; they are listed in {run_dir / BAD_SAMPLES}. "
            "The state is saved: mend the shards, or raise data.bad_budget, and run the same "
            "command again."
        )
    if outcome.end is End.FAULT:
        if not plan.world.is_main:
            return ExitCode.USER  # one sentence is enough
        raise UserError(
            f"Step {outcome.step + 1}: {outcome.reason}. The state before it is saved in "
            f"{run_dir}; lower train.lr, set train.precision = fp32, or raise run.patience to skip "
            "such steps."
        )
    code = ExitCode.STOPPED if outcome.end is End.STOPPED else ExitCode.DONE
    if plan.world.is_main:
        exit_file.write(run_dir, code, outcome.reason, outcome.step)
        if code is ExitCode.STOPPED:
            console.info(
                f"Stopped after step {outcome.step:,} ({outcome.reason}); saved. "
                "Run the same command again to go on."
            )
        else:
            console.info(
                f"Done: {outcome.step:,} steps. Model in {run_dir}, "
                f"grids in {run_dir / 'samples'}.\n"
                f"Translate with: srae-dist batch-translate {run_dir} INPUT --to DOMAIN --out OUT"
            )
    return code


def say_finished(plan: Plan) -> int:
    """Say that nothing is left to do, and do what a kill at the very end has left undone."""
    from srae_dist.runtime import checkpoint, console, exit_file

    if plan.world.is_main:
        checkpoint.sweep(plan.run_dir / "checkpoints")
        checkpoint.prune(plan.run_dir / "checkpoints", plan.recipe.run.keep_last)
        exit_file.write(plan.run_dir, ExitCode.DONE, "already finished", plan.start)
        console.info(
            f"{plan.run_dir} is finished: {plan.start:,} of {plan.recipe.train.steps:,} steps. "
            "Raise train.steps to go on, or set another run.dir."
        )
    return ExitCode.DONE


def main() -> None:
    """Run as ``python -m srae_dist.train``."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(train)
    run(app)


if __name__ == "__main__":
    main()
