"""What a run says of itself: what begins, and how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from srae_dist import __version__
from srae_dist.core.errors import ExitCode, UserError

if TYPE_CHECKING:
    from srae_dist.engine.loop import Outcome
    from srae_dist.train.plan import Plan


def introduce(plan: Plan) -> None:
    """Say what is about to run, on what, and from where."""
    from srae_dist.engine.schedule import endless_warmup
    from srae_dist.model import vgg
    from srae_dist.runtime import console

    recipe, model, size = plan.recipe, plan.recipe.model, plan.image_size
    counts = plan.data.split.counts()
    images = ", ".join(f"{counts[name]:,} {name}" for name in plan.data.manifest.domains)
    parameters = sum(p.numel() for p in plan.objective.autoencoder.parameters()) / 1e6
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
            "perceptual": f"VGG-16 {', '.join(recipe.perceptual.layers)}, "
            + vgg.describe(recipe.perceptual.weights),
            "run": f"{begin}, {recipe.train.steps:,} steps in all; folder {recipe.run_dir}",
        },
    )
    if note := endless_warmup(recipe.train):
        console.warn(note)
    before, now = plan.state.get("ranks"), plan.world.size
    if before not in (None, now):
        console.info(
            f"The run was on {before} ranks and is on {now} now: "
            "the same samples in the same order, losses equal to rounding."
        )
    if plan.has_other_images:
        console.warn(
            f"until step {plan.start:,} the run saw other images than {plan.data.store.name} now "
            "has, or the same in other shards; from here on it sees these."
        )


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
            f"{outcome.reason}. The state of step {outcome.step:,} is saved in "
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
            target = plan.data.manifest.domains[-1]
            console.info(
                f"Done: {outcome.step:,} steps. Model in {run_dir}, "
                f"grids in {run_dir / 'samples'}.\n"
                f"Translate with: srae-dist batch-translate {run_dir} INPUT --to {target} --out OUT"
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


def where_it_goes_on(run_dir: Path) -> str:
    """Say what the same command will resume from."""
    from srae_dist.runtime import checkpoint

    newest = checkpoint.newest(run_dir / "checkpoints")
    if newest is None:
        return "Nothing was saved yet: run the same command again to begin anew."
    return f"Run the same command again to go on from step {checkpoint.step_of(newest):,}."
