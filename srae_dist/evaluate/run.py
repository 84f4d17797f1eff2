"""An evaluation from end to end: all ranks encode, rank 0 measures and writes, the others leave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from srae_dist import __version__
from srae_dist.core.errors import ExitCode, SraeError
from srae_dist.evaluate.options import Options, cannot_write, claim, out_folder, run_folder
from srae_dist.evaluate.plan import Measure, choose
from srae_dist.evaluate.taking import take_all

if TYPE_CHECKING:
    from srae_dist.data.opened import OpenSplit
    from srae_dist.evaluation.encoded import Encoded
    from srae_dist.evaluation.report import Report
    from srae_dist.recipe.schema import Perceptual
    from srae_dist.runtime.launch import World
    from srae_dist.runtime.stages import Stages
    from srae_dist.translation.agreement import Agreement
    from srae_dist.translation.translator import Translator


@dataclass(frozen=True, slots=True)
class Job:
    """What is settled before anything is computed, the same on all ranks."""

    options: Options
    measures: tuple[Measure, ...]
    checkpoint: Path
    translator: Translator
    splits: dict[str, OpenSplit]  # "train" and "test"
    perceptual: Perceptual  # the VGG to measure with
    run: Path | None  # the run folder, if the checkpoint lies in one
    out: Path


def prepare(options: Options) -> Job:
    """Look at everything that is named, before anything is computed.

    Raises:
        UserError: something of it is not there, or does not go together.
    """
    measures = choose(options.only)
    check_weights(options)

    from srae_dist.data.opened import open_split
    from srae_dist.evaluate.encoding import domain_numbers
    from srae_dist.evaluate.subject import perceptual_of
    from srae_dist.runtime import checkpoint as checkpoints
    from srae_dist.translation.translator import load

    file = checkpoints.resolve(options.run)
    out = out_folder(options, file)
    names = {"train": options.train_split, "test": options.test_split}
    splits = {use: open_split(options.shards, name) for use, name in names.items()}
    translator, run = load(file, device="cpu"), run_folder(file)
    for opened in splits.values():  # both, before the first is encoded
        domain_numbers(translator, opened)
    perceptual = perceptual_of(translator.recipe, run=run, vgg=options.vgg)
    return Job(options, measures, file, translator, splits, perceptual, run, out)


def check_weights(options: Options) -> None:
    """Hold that weight files that are named are there, before anything heavy is imported."""
    from srae_dist.evaluation.features import VggFeatures
    from srae_dist.evaluation.weights import ALEXNET, INCEPTION, read_known, require

    if options.inception is not None:
        read_known(options.inception, INCEPTION, option="--inception")
        require("torch_fidelity", option="--inception", installs="torch-fidelity")
    if options.lpips is not None:
        read_known(options.lpips, ALEXNET, option="--lpips")
        require("lpips", option="--lpips", installs="lpips")
    if options.vgg is not None:
        VggFeatures(options.vgg)


def evaluate_all(job: Job, world: World) -> int:
    """Evaluate on all ranks; return the exit code.

    What keeps rank 0 from writing is known before anything is encoded, on all ranks; whoever fails
    to encode, all know. Then the others leave, so nobody ever waits for rank 0.
    """
    from srae_dist.runtime.stages import Stages
    from srae_dist.translation.agreement import Agreement

    begun = time.monotonic()
    agreement = Agreement(world.size)
    with Stages(shown=world.is_main) as stages:
        try:
            if not ready(job, world, agreement):
                return ExitCode.DONE
            encoded = encode(job, world, stages)
        except SraeError:
            if world.is_main:
                raise
            return ExitCode.DONE  # rank 0 tells, and its exit code is the launch's
        finally:
            agreement.close()
        if not world.is_main:
            return ExitCode.DONE
        report, failed = measure(job, encoded, world, stages, begun=begun)
    return finish(job, report, failed)


def ready(job: Job, world: World, agreement: Agreement) -> bool:
    """Claim the folder of the report on rank 0; return whether it is claimed, on all ranks.

    Raises:
        UserError: it is not; on rank 0.
    """
    try:
        if world.is_main:
            claim(job.out)
            introduce(job, world)
    except SraeError:
        agreement.any(True)
        raise
    return not agreement.any(False)


def introduce(job: Job, world: World) -> None:
    """Say what is about to be measured."""
    from srae_dist.runtime import console

    translator, test = job.translator, job.splits["test"]
    console.facts(
        f"srae_dist {__version__}: evaluate {job.options.run}",
        {
            "checkpoint": f"{job.checkpoint}, step {translator.step:,}",
            "images": f"{test.store.name}: at most {job.options.per_domain_train:,} of a domain of "
            f"split {job.options.train_split} to learn from, {job.options.per_domain_test:,} of "
            f"{job.options.test_split} to be scored",
            "measures": ", ".join(measure.name for measure in job.measures),
            "machine": world.describe(),
        },
    )


def encode(job: Job, world: World, stages: Stages) -> dict[str, Encoded]:
    """Encode both splits, shared out over the ranks."""
    from srae_dist.evaluate.encoding import encode_split

    options = job.options
    counts = {"train": options.per_domain_train, "test": options.per_domain_test}
    encoded = {}
    for use, opened in job.splits.items():
        with stages.stage(f"encode {opened.name}"):
            encoded[use] = encode_split(
                job.translator, opened, per_domain=counts[use], rank=world.rank, world=world.size
            )
    return encoded


def measure(
    job: Job, encoded: dict[str, Encoded], world: World, stages: Stages, *, begun: float
) -> tuple[Report, list[str]]:
    """Take every measure that applies; return what was found and which of them failed."""
    from srae_dist.evaluate import headlines, provenance
    from srae_dist.evaluate.subject import Subject
    from srae_dist.evaluation.report import Report

    subject = Subject(
        job.options,
        job.translator,
        train=encoded["train"],
        test=encoded["test"],
        run=job.run,
        perceptual=job.perceptual,
    )
    with all_cores() as threads:
        taken = take_all(job.measures, subject, stages, only=job.options.only)
    pairs = {use: (opened, encoded[use]) for use, opened in job.splits.items()}
    facts = provenance.facts(
        subject, checkpoint=job.checkpoint, splits=pairs, world=world, threads=threads
    )
    seconds = time.monotonic() - begun
    created = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    report = Report(
        title=job.run.name if job.run is not None else job.checkpoint.stem,
        summary=provenance.summary(facts),
        facts=facts,
        sections=taken.sections,
        headlines=[line for section in taken.sections for line in headlines.of(section)],
        not_measured=taken.missing,
        time={"created": created, "seconds": seconds, "stages": stages.seconds},
        made=provenance.readable(facts, created=created, seconds=seconds),
        made_tables=[provenance.image_table(facts)],
    )
    return report, taken.failed


@contextlib.contextmanager
def all_cores() -> Iterator[int]:
    """Give torch the machine, now that the other ranks leave; yields its CPU threads.

    The number is the same whatever the number of ranks was, and so are the numbers' last digits.
    All else stays on one core.
    """
    import torch

    from srae_dist.core.machine import available_cores
    from srae_dist.evaluate.one_core import one_core

    cores, before = available_cores(), torch.get_num_threads()
    try:
        with one_core():
            torch.set_num_threads(cores)
            yield cores
    finally:
        torch.set_num_threads(before)


def finish(job: Job, report: Report, failed: list[str]) -> int:
    """Write the report, and say what matters most and where the rest is."""
    from srae_dist.evaluate.provenance import scarce
    from srae_dist.evaluation.report import write
    from srae_dist.runtime import console

    try:
        page = write(report, job.out)
    except OSError as error:
        raise cannot_write(job.out, error) from None
    for line in report.headlines:
        console.info(f"{line.value:>10}  {line.label}{f' ({line.note})' if line.note else ''}")
    if note := scarce(report.facts):
        console.warn(note)
    if report.not_measured:
        names = ", ".join(one.name for one in report.not_measured)
        console.info(f"Not measured: {names}; the report says why.")
    console.info(f"The report is {page}, its numbers are in {page.with_suffix('.json')}.")
    if failed:
        console.error(f"{', '.join(failed)} failed (above); all else is in the report.")
        return ExitCode.SOME_FAILED
    return ExitCode.DONE
