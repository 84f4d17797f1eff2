"""Is a shard folder what its manifest says? Every hash, count, member and image is looked at.

Problems are damage and disagreement: such a folder should not be trained on. Remarks (duplicates,
flat images, files that nobody lists) are for people to judge. Neither is ever an exception.
"""

from __future__ import annotations

from collections.abc import Callable

from srae_dist.data.check.findings import Findings
from srae_dist.data.check.plan import Plan as Plan
from srae_dist.data.check.plan import plan as plan
from srae_dist.data.check.pool import check_all
from srae_dist.data.check.summary import Report as Report
from srae_dist.data.check.summary import summarise


def check(
    planned: Plan, *, processes: int = 1, advance: Callable[[int], None] = lambda count: None
) -> Report:
    """Check what ``plan`` found; ``advance`` is told of each shard done.

    Raises:
        UserError: a process died.
    """
    problems, remarks, done = Findings(), Findings(), []
    problems.extend(planned.problems)
    remarks.extend(planned.remarks)
    for checked in check_all(planned.jobs, count=processes):
        problems.extend(checked.problems)
        remarks.extend(checked.remarks)
        done.append(checked)
        advance(1)
    return summarise(planned, done, problems, remarks)
