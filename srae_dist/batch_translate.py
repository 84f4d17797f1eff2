"""Translate a folder of images, or shards: `srae-dist batch-translate`, or on many ranks
`accelerate launch -m srae_dist.batch_translate`.

Running the same command again goes on with what is not done yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srae_dist import __version__
from srae_dist.core.errors import ExitCode, SraeError, UserError
from srae_dist.core.urls import without_secrets
from srae_dist.translation.options import Format, Options, OutKind, Precision, check_places

if TYPE_CHECKING:
    from srae_dist.runtime.launch import World
    from srae_dist.translation.agreement import Agreement
    from srae_dist.translation.inputs import Images, Unit
    from srae_dist.translation.job import State, Total
    from srae_dist.translation.outputs import Output
    from srae_dist.translation.pipeline import Machine
    from srae_dist.translation.translator import Translator

_SHOWN = 20  # failures named on the screen; all are in the list on disk


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
            help="A folder of images (all below it), a shard folder, or the URL of one "
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
    """Translate a folder of images, or shards, to another domain; the same command resumes it."""
    options = Options(
        source=input,
        to=to,
        out=out,
        from_=from_,
        reference=reference,
        references=references,
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
    from srae_dist.translation.agreement import Agreement
    from srae_dist.translation.job import PARTIAL, State
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
                return say_finished(options) if world.is_main else ExitCode.DONE
            if world.is_main:
                introduce(options, file, job, inputs, world, resumes=state is State.UNFINISHED)
            code = work(options, machine, output, inputs, job, facts, world, agreement)
    finally:
        agreement.close()
    if world.is_main and code in (ExitCode.DONE, ExitCode.SOME_FAILED):
        shutil.rmtree(options.out / PARTIAL, ignore_errors=True)
    return code


def claim(options: Options, job: dict[str, Any], stack: contextlib.ExitStack) -> State:
    """Lock OUT and make it ready, unless the job is finished.

    Raises:
        UserError: OUT holds something else, or is in use.
    """
    from srae_dist.runtime.lock import locked
    from srae_dist.translation.job import PARTIAL, State, begin, look, tidy

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
    from srae_dist.translation.job import Progress, conclude
    from srae_dist.translation.run import codec_threads, run_units

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
                say_stopped(output, left, stop.reason or "another rank failed or was stopped")
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
        total = conclude(options.out, job, records, facts=facts, shown=_SHOWN)
    speed = f" in {seconds:.1f} s ({images / seconds:,.0f} images/s)" if images else ""
    return say_total(options, total, speed)


def introduce(
    options: Options,
    file: Path,
    job: dict[str, Any],
    inputs: Images,
    world: World,
    *,
    resumes: bool,
) -> None:
    """Say what is about to be done."""
    from srae_dist.runtime import console

    source, references = map(without_secrets, (options.source, options.references or ""))
    code: str = {
        "mean": f"mean code of {options.to}",
        "reference": f"of {options.reference}",
        "references": f"of an image of {references} for each, seed {options.seed}",
    }[job["code"]["kind"]]
    made, size = job["output"], job["output"]["size"]
    console.facts(
        f"srae_dist {__version__}: translate to {options.to}",
        {
            "checkpoint": f"{file}, step {job['checkpoint']['step']:,}",
            "input": f"{len(inputs):,} images of the {inputs.kind} {source}"
            + (f", from {options.from_}" if options.from_ else ""),
            "output": f"{made['kind']} {options.out}; {made['format']}, {size} x {size}",
            "code": code + (", content codes drawn" if options.sample else ""),
            "machine": f"{world.describe()}, {job['precision']}, batches of {options.batch}",
        },
    )
    for note in inputs.notes:
        console.info(note)
    if resumes:
        console.info("An earlier run was stopped; it goes on with what is not done yet.")


def say_stopped(output: Output, left: Sequence[Unit], reason: str) -> None:
    """Say how far it came, and how it goes on."""
    from srae_dist.runtime import console

    missing = sum(map(len, left))
    done = sum(map(len, output.units)) - missing
    console.info(
        f"Stopped ({reason}); {done:,} images are done and kept, {missing:,} are left. "
        "Run the same command again to go on."
    )


def say_finished(options: Options) -> int:
    """Say that there is nothing to do; return the exit code of the run that did it."""
    from srae_dist.runtime import console
    from srae_dist.translation.job import FAILED, read_summary

    summary = read_summary(options.out)
    console.info(
        f"{options.out} is finished: {summary['translated']:,} of {summary['images']:,} images "
        "are translated. Do it again with --force."
    )
    if summary["failed"]:
        console.warn(f"{summary['failed']:,} are not; they are listed in {options.out / FAILED}.")
    return exit_code(options, summary["failed"])


def say_total(options: Options, total: Total, speed: str) -> int:
    """Show what was made and what could not be; return the exit code."""
    from srae_dist.runtime import console
    from srae_dist.translation.job import FAILED, PROVENANCE

    images = total.translated + total.failed
    console.info(
        f"Translated {total.translated:,} of {images:,} images to {options.to}{speed}.\n"
        f"They are in {options.out}, their origins in {options.out / PROVENANCE}."
    )
    for name in total.unreadable_references[:_SHOWN]:
        console.warn(f"cannot read the reference {name}; others were drawn instead.")
    for line in total.first_failed:
        console.warn(f"{line['input']}: {line['reason']}")
    if total.failed:
        code = exit_code(options, total.failed)
        hint = f" --allow-bad {total.failed} accepts that." if code != ExitCode.DONE else ""
        console.warn(
            f"{total.failed:,} of {images:,} images are not translated; all are listed in "
            f"{options.out / FAILED}.{hint}"
        )
    return exit_code(options, total.failed)


def exit_code(options: Options, failed: int) -> int:
    """Return 0, or 1 if more images failed than are allowed to."""
    return ExitCode.DONE if failed <= options.allow_bad else ExitCode.SOME_FAILED


@contextlib.contextmanager
def told_at_once(agreement: Agreement, world: World) -> Iterator[None]:
    """Where a rank of several fails, say why at once, and let the others finish what is theirs.

    Without its word they would wait for it, and break off when it is gone.
    """
    from srae_dist.runtime import console

    try:
        yield
    except SraeError as error:
        if world.size > 1:
            console.error(str(error))
            agreement.any(True)
            error.args = ()  # said
        raise


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell a full disk, or a folder that may not be written to, in one sentence."""
    from srae_dist.core import disk

    try:
        yield
    except OSError as error:
        raise UserError(disk.refusal(error, Path(error.filename or out))) from None


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
