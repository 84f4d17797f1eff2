"""Take the measures of an evaluation: one that cannot be taken, or fails, leaves the others."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from srae_dist.core.errors import SraeError, UserError
from srae_dist.evaluate.plan import Measure, left_out

if TYPE_CHECKING:
    from srae_dist.evaluate.subject import Subject
    from srae_dist.evaluation.report import NotMeasured
    from srae_dist.evaluation.section import Section
    from srae_dist.runtime.stages import Stages


@dataclass(slots=True)
class Taken:
    """What the measures found, and what is missing."""

    sections: list[Section] = field(default_factory=list)
    missing: list[NotMeasured] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # of the missing: by a fault, not by a reason


def take_all(
    measures: Sequence[Measure], subject: Subject, stages: Stages, *, only: Sequence[str] = ()
) -> Taken:
    """Take the measures in order; what cannot be taken is told, with its reason.

    A fault of one costs none of what the others find, hours of it with many images: its traceback
    goes to stderr, and the report says that it is missing.

    Raises:
        UserError: one that was asked for by name (``only``) cannot be taken.
        Exception: a fault, if nothing was found but by faults.
    """
    for one in measures:
        if one.name in only and (reason := one.obstacle(subject)) is not None:
            raise UserError(f"--only {one.name} cannot be measured: {reason}")
    taken, fault = Taken(), None
    for one in measures:
        try:
            _take(one, subject, stages, taken, named=one.name in only)
        except SraeError:
            raise
        except Exception as error:
            fault = error
            _tell(one, error, taken)
    if fault is not None and not taken.sections:
        raise fault
    taken.missing += left_out(subject, taken.sections)
    return taken


def _take(one: Measure, subject: Subject, stages: Stages, taken: Taken, *, named: bool) -> None:
    from srae_dist.evaluation.report import NotMeasured

    reason = one.obstacle(subject)
    if reason is None:
        with stages.stage(one.name):
            try:
                taken.sections.append(one.take(subject))
            except UserError as error:
                if named:
                    raise
                reason = str(error)
    if reason is not None:
        taken.missing.append(NotMeasured(one.name, one.title, reason))


def _tell(one: Measure, error: Exception, taken: Taken) -> None:
    from srae_dist.evaluation.report import NotMeasured
    from srae_dist.runtime import console

    said = "".join(traceback.format_exception(error)).strip()
    console.warn(f"{one.name} failed, and the report goes on without it:\n{said}")
    what = " ".join(f"{type(error).__name__}: {error}".split())
    reason = f"It failed ({what}); the traceback was printed while it ran."
    taken.missing.append(NotMeasured(one.name, one.title, reason))
    taken.failed.append(one.name)
