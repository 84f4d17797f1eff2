"""Translate a folder of images, or shards: `srae-dist batch-translate`, or on many ranks
`accelerate launch -m srae_dist.batch_translate`.

Running the same command again goes on with what is not done yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srae_dist.core.errors import ExitCode, SraeError, UserError
from srae_dist.translation.options import Format, Options, OutKind, Precision, check_places

if TYPE_CHECKING:
    from srae_dist.runtime.launch import World
    from srae_dist.translation.agreement import Agreement
    from srae_dist.translation.inputs import Images
    from srae_dist.translation.job import State
    from srae_dist.translation.outputs import Output
    from srae_dist.translation.pipeline import Machine
    from srae_dist.translation.translator import Translator


def batch_translate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A run folder, a checkpoint folder or an ema.safetensors file.",
        ),
    ],
    input: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="An image, a folder of images (all below it), a shard folder, or the URL of one "
            "(https://, s3://, gs://, hf://).",
        ),
    ],
    to: Annotated[str, typer.Option(metavar="DOMAIN", help="Domain to translate to.")],
    out: Annotated[Path, typer.Option(metavar="OUT", help="Where the translations go.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DOMAIN",
            help="Translate only this domain: its samples of shards; of a folder, what lies in "
            "folders of that name, if any do (default: all images).",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Image that lends all its domain code.")
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Images or shards; each image gets the domain code of one drawn from them "
            "(default: the mean code of the domain).",
        ),
    ] = None,
    keep_style: Annotated[
        bool,
        typer.Option(
            "--keep-style",
            help="Each image keeps its own domain code, moved by the difference of the domains' "
            "means (its own domain: --from, else the nearest).",
        ),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(help="Split of shards to translate; of a folder's shards, their name."),
    ] = None,
    out_kind: Annotated[
        OutKind | None, typer.Option(help="What to write (default: what INPUT is).")
    ] = None,
    format: Annotated[Format, typer.Option(help="Image format.")] = Format.PNG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of jpg and webp.")] = 95,
    size: Annotated[
        int | None,
        typer.Option(min=8, max=4096, help="Pixels of the square output (default: the model's)."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=65536, help="Images at a time.")] = 64,
    precision: Annotated[
        Precision, typer.Option(help="auto is bf16 where the hardware has it.")
    ] = Precision.AUTO,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw content codes instead of taking their means.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of --references and --sample.")] = 0,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps (default: the rank's own).")
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where up to 8 GB of a URL's shards are kept (default: a folder of yours in the "
            "system's temporary one).",
        ),
    ] = None,
    allow_bad: Annotated[
        int, typer.Option(metavar="N", min=0, help="Unreadable images that are no failure.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another translation in OUT, or join its files.")
    ] = False,
) -> int:
    """Translate images, or shards, to another domain; the same command resumes it."""
    options = Options(
        source=input,
        to=to,
        out=out,
        from_=from_,
        reference=reference,
        references=references,
        keep_style=keep_style,
        split=split,
        out_kind=out_kind.value if out_kind else None,
        format=format.value,
        quality=quality,
        size=size,
        batch=batch,
        precision=precision.value,
        sample=sample,
        seed=seed,
        device=device,
        allow_bad=allow_bad,
        force=force,
        cache_dir=cache_dir,
    )
    check_places(options)

    from srae_dist.runtime import checkpoint as checkpoints
    from srae_dist.translation.setup import find_device, open_inputs
    from srae_dist.translation.translator import load

    file = checkpoints.resolve(checkpoint)
    translator = load(file, device="cpu")
    translator.domain_index(to)
    inputs, references_found = open_inputs(options, translator)

    from srae_dist.runtime.launch import join_world

    world = join_world()
    translator.to(find_device(device, default=world.device))
    return translate_all(options, file, translator, inputs, references_found, world)


def translate_all(
    options: Options,
    file: Path,
    translator: Translator,
    inputs: Images,
    references: Images | None,
    world: World,
) -> int:
    """Translate what is not done yet, on all ranks; return the exit code."""
    from srae_dist.runtime.launch import choose_precision
    from srae_dist.runtime.threads import choose
    from srae_dist.translation import words
    from srae_dist.translation.agreement import Agreement
    from srae_dist.translation.job import State, tidy
    from srae_dist.translation.setup import build_machine, build_output, describe_job

    precision = choose_precision(options.precision, translator.device)
    facts = {"checkpoint": str(file), "step": translator.step, "to": options.to}
    job = describe_job(options, file, translator, inputs, references, precision)
    output = build_output(options, translator, inputs, facts)
    machine = build_machine(options, translator, references, output, precision)
    if translator.device.type == "cpu" and world.threads > 1:
        world = dataclasses.replace(world, threads=choose(world.threads, machine.seconds)[0])
    agreement = Agreement(world.size)
    try:
        with contextlib.ExitStack() as stack:
            state = State.NEW
            try:
                if world.is_main:
                    state = claim(options, job, stack)
            except SraeError:
                agreement.any(True)
                raise
            if agreement.any(state is State.FINISHED):
                return words.say_finished(options) if world.is_main else ExitCode.DONE
            if world.is_main:
                words.introduce(
                    options, file, job, inputs, world, resumes=state is State.UNFINISHED
                )
            code = work(options, machine, output, inputs, job, facts, world, agreement)
    finally:
        agreement.close()
    if world.is_main and code in (ExitCode.DONE, ExitCode.SOME_FAILED):
        tidy(options.out)
    return code


def claim(options: Options, job: dict[str, Any], stack: contextlib.ExitStack) -> State:
    """Lock OUT and make it ready, unless the job is finished.

    Raises:
        UserError: OUT holds something else, or is in use.
    """
    from srae_dist.runtime.lock import locked
    from srae_dist.translation.earlier import PARTIAL
    from srae_dist.translation.job import State, begin, look, tidy
    from srae_dist.translation.run import writing

    state = look(options.out, job, force=options.force)
    if state is State.FINISHED and (options.out / PARTIAL).exists():  # it was killed at its end
        with contextlib.suppress(UserError), locked(options.out / PARTIAL):  # or is at its end now
            tidy(options.out)
    if state is not State.FINISHED:
        stack.enter_context(locked(options.out / PARTIAL))
        state = look(options.out, job, force=options.force)  # nobody changes it from here on
        with writing(options.out):
            begin(options.out, job, state)
    return state


def work(
    options: Options,
    machine: Machine,
    output: Output,
    inputs: Images,
    job: dict[str, Any],
    facts: dict[str, Any],
    world: World,
    agreement: Agreement,
) -> int:
    """Do this rank's share of the units; the main process brings all to their end."""
    from srae_dist.runtime import console
    from srae_dist.runtime.signals import StopRequest
    from srae_dist.translation import words
    from srae_dist.translation.agreement import told_at_once
    from srae_dist.translation.job import Progress, conclude
    from srae_dist.translation.run import codec_threads, run_units, writing

    progress, begun = Progress(options.out), time.monotonic()
    todo = progress.todo(output.units)
    images = sum(map(len, todo))
    # by number: another rank may have done some of them already, so `todo` is each rank's own
    mine = [unit for unit in todo if unit.number % world.size == world.rank]
    with StopRequest(launched=world.launched) as stop, writing(options.out):
        label = "images" if world.size == 1 else f"images of rank 0 of {world.size}"
        bar = console.progress(sum(map(len, mine)), label) if world.is_main else _no_bar()
        with bar as advance, told_at_once(agreement, world), writing(options.out):
            run_units(
                machine,
                output,
                inputs,
                progress,
                mine,
                threads=codec_threads(world.local_size),
                stopped=lambda: stop.reason is not None,
                advance=advance,
            )
        seconds = time.monotonic() - begun
        stopped = agreement.any(stop.reason is not None)
        left = progress.todo(output.units)
        if stopped and left:
            if world.is_main:
                reason = stop.reason or "another rank failed or was stopped"
                words.say_stopped(output, left, reason)
            return ExitCode.STOPPED
        if not world.is_main:
            return ExitCode.DONE
        if left:
            raise UserError(
                f"{len(left)} parts of the work of other ranks are not in {options.out}; "
                "give an --out that all machines share, and run the same command again."
            )
        output.publish(progress)
        records = (progress.load(unit) for unit in output.units)
        total = conclude(options.out, job, records, facts=facts, shown=words.SHOWN)
    speed = f" in {seconds:.1f} s ({images / seconds:,.0f} images/s)" if images else ""
    return words.say_total(options, total, speed)


def _no_bar() -> contextlib.AbstractContextManager[Callable[[int], None]]:
    return contextlib.nullcontext(lambda count: None)


def main() -> None:
    """Run this one command."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(batch_translate)
    run(app)


if __name__ == "__main__":
    main()
