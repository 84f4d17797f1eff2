"""The engine wired together from a plan: accelerator, stepper, loader, and what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from srae_dist import __version__
from srae_dist.train.plan import open_data

if TYPE_CHECKING:
    from srae_dist.data.opened import OpenSplit
    from srae_dist.engine.loop import Outcome
    from srae_dist.engine.run_hooks import RunHooks
    from srae_dist.engine.step import Stepper
    from srae_dist.runtime.live import TrainDisplay
    from srae_dist.runtime.signals import StopRequest
    from srae_dist.train.plan import Plan

HELD_OUT = "test"  # the split whose images the grids show, where the shards have it


def run_plan(plan: Plan, stop: StopRequest) -> Outcome:
    """Wire the engine together and run its loop."""

    from srae_dist.core import disk
    from srae_dist.data.loader import BadSampleError, make_loader
    from srae_dist.engine import loop, players, snapshot
    from srae_dist.engine.networks import compiles, compiling, loader_workers
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
        shared_buffers=recipe.objective.q_memory > 0,
    )
    objective.to(accelerator.device)
    compiled = compiles(recipe.engine.compile, world.device)
    if compiled:
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
            note_changes(plan, hooks)
            disk.check_room(
                plan.run_dir, snapshot.full_size(stepper), what="a checkpoint of this run"
            )
        try:
            with compiling(compiled=compiled):
                outcome = loop.run(
                    stepper,
                    hooks.bad_samples.watch(batches),
                    hooks,
                    stop,
                    start=plan.start,
                    train=recipe.train,
                    patience=recipe.run.patience,
                    timeout=recipe.engine.timeout,
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
    from srae_dist.recipe.save import recipe_without_paths, recipe_without_secrets
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
            "recipe": recipe_without_secrets(recipe).model_dump(mode="json"),
            "micro_batch": plan.batching.micro_batch,
            "ranks": plan.world.size,
            "domains": list(manifest.domains),
            "images": data.split.index_sha256,
            "threads": plan.world.threads,
            "srae_dist": __version__,
        },
        keep_last=recipe.run.keep_last,
        bad_samples=BadSamples(
            plan.run_dir,
            budget=recipe.data.bad_budget,
            global_batch=recipe.train.global_batch,
            known=plan.state.get("bad_samples", ()),
        ),
        skipped=int(plan.state.get("skipped", 0)),
    )


def note_changes(plan: Plan, hooks: RunHooks) -> None:
    """Say in the log from where on losses equal those of other ranks to rounding alone, and from
    where on the run sees other images."""
    from srae_dist.runtime.runlog import RESUMED

    before, now = plan.state.get("ranks"), plan.world.size
    changes: dict[str, Any] = {}
    if before not in (None, now):
        changes = {"ranks": now, "ranks_before": before}
    if plan.has_other_images:
        changes |= {"images": plan.data.split.index_sha256, "images_before": plan.state["images"]}
    if changes:
        hooks.log.write(plan.start, {RESUMED: True, **changes})
