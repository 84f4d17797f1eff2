"""What `batch-translate` says: at its beginning, when it is stopped, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist import __version__
from srae_dist.core.errors import ExitCode
from srae_dist.core.urls import without_secrets
from srae_dist.runtime import console
from srae_dist.translation.earlier import FAILED, PROVENANCE
from srae_dist.translation.job import Total, read_summary
from srae_dist.translation.options import Options

if TYPE_CHECKING:
    from srae_dist.runtime.launch import World
    from srae_dist.translation.inputs import Images, Unit
    from srae_dist.translation.outputs import Output

SHOWN = 20  # failures named on the screen; all are in the list on disk


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
    source, references = map(without_secrets, (options.source, options.references or ""))
    code: str = {
        "mean": f"mean code of {options.to}",
        "kept": f"each image's own, moved from {_own(options, job)} to {options.to}",
        "reference": f"of {options.reference}",
        "references": f"of an image of {references} for each, seed {options.seed}",
    }[job["code"]["kind"]]
    made, size = job["output"], job["output"]["size"]
    console.facts(
        f"srae_dist {__version__}: translate to {options.to}",
        {
            "checkpoint": f"{file}, step {job['checkpoint']['step']:,}",
            "input": _what(inputs, source) + (f", from {options.from_}" if options.from_ else ""),
            "output": f"{made['kind']} {options.out}; {made['format']}, {size} x {size}",
            "code": code + (", content codes drawn" if options.sample else ""),
            "machine": f"{world.describe()}, {job['precision']}, batches of {options.batch}",
        },
    )
    for note in inputs.notes:
        console.info(note)
    if unasked := _says_all(options, inputs):
        console.warn(unasked)
    if resumes:
        console.info("An earlier run was stopped; it goes on with what is not done yet.")


def _own(options: Options, job: dict[str, Any]) -> str:
    if options.from_ in job["domains"]:
        return str(options.from_)
    unknown = f" (the model does not know {options.from_})" if options.from_ else ""
    return f"the nearest domain{unknown}"


def _what(inputs: Images, source: str) -> str:
    if len(inputs) == 1 and Path(source).is_file():
        return f"the image {source}"
    return f"{len(inputs):,} images of the {inputs.kind} {source}"


def _says_all(options: Options, inputs: Images) -> str | None:
    """Say how many images of shards are in the target's domain, or of which splits, unasked."""
    if inputs.kind == "folder":
        return None
    splits, already = Counter[str](), 0
    for part in inputs.parts:
        splits[part.split] += len(part.wanted)
        if options.from_ is None and options.to in inputs.manifest.domains:
            target = inputs.manifest.domains.index(options.to)
            already += int((part.rows.domain[part.wanted] == target).sum())
    several = options.split is None and len(splits) > 1
    if not several and not already:
        return None
    listed = ", ".join(f"{count:,} of split {name}" for name, count in splits.items())
    parts = f" ({listed})" if several else ""
    own = f", {already:,} of them {options.to} already" if already else ""
    pick = " and ".join(["--split NAME"] * several + ["--from DOMAIN"] * (already > 0))
    return f"all {len(inputs):,} images are translated{parts}{own}; pick some with {pick}."


def say_stopped(output: Output, left: Sequence[Unit], reason: str) -> None:
    """Say how far it came, and how it goes on."""
    missing = sum(map(len, left))
    done = sum(map(len, output.units)) - missing
    console.info(
        f"Stopped ({reason}); {done:,} images are done and kept, {missing:,} are left. "
        "Run the same command again to go on."
    )


def say_finished(options: Options) -> int:
    """Say that there is nothing to do; return the exit code of the run that did it."""
    summary = read_summary(options.out)
    console.info(
        f"{options.out} is finished: {summary['translated']:,} of {summary['images']:,} images "
        "are translated. --force would do it again."
    )
    if summary["failed"]:
        count = summary["failed"]
        rest = "1 is not; it is" if count == 1 else f"{count:,} are not; they are"
        console.warn(f"{rest} listed in {options.out / FAILED}.")
    return exit_code(options, summary["failed"])


def say_total(options: Options, total: Total, speed: str) -> int:
    """Show what was made and what could not be; return the exit code."""
    images = total.translated + total.failed
    console.info(
        f"Translated {total.translated:,} of {images:,} images to {options.to}{speed}.\n"
        f"They are in {options.out}, their origins in {options.out / PROVENANCE}."
    )
    for name in total.unreadable_references[:SHOWN]:
        console.warn(f"cannot read the reference {name}; others were drawn instead.")
    for line in total.first_failed:
        console.warn(f"{line['input']}: {line['reason']}")
    if total.failed:
        code = exit_code(options, total.failed)
        hint = f" --allow-bad {total.failed} accepts that." if code != ExitCode.DONE else ""
        console.warn(
            f"{total.failed:,} of {images:,} images {'is' if total.failed == 1 else 'are'} not "
            f"translated; see {options.out / FAILED}.{hint}"
        )
    return exit_code(options, total.failed)


def exit_code(options: Options, failed: int) -> int:
    """Return 0, or 1 if more images failed than are allowed to."""
    return ExitCode.DONE if failed <= options.allow_bad else ExitCode.SOME_FAILED
