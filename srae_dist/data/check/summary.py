"""All shards' samples together: statistics by split and domain, and what is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.check.duplicates import Duplicates, find_duplicates
from srae_dist.data.check.findings import Findings
from srae_dist.data.check.plan import Plan
from srae_dist.data.check.samples import SAMPLE
from srae_dist.data.check.shard import Checked
from srae_dist.data.check.statistics import Statistics, statistics_of
from srae_dist.data.manifest import Manifest

UNKNOWN = "(unknown)"  # domain of samples whose .cls says none
EQUAL = "equal_images"  # kind of the remarks that name duplicates


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    root: Path
    manifest: Manifest
    splits: tuple[str, ...]  # those checked
    statistics: dict[str, dict[str, Statistics]]  # split -> domain
    duplicates: Duplicates
    problems: Findings
    remarks: Findings

    @property
    def sound(self) -> bool:
        """Whether nothing is broken and all is as the manifest says."""
        return self.problems.total() == 0


def summarise(plan: Plan, done: Sequence[Checked], problems: Findings, remarks: Findings) -> Report:
    """Sum up the checked shards, in the order of ``plan.jobs``; names duplicates in ``remarks``."""
    samples = np.concatenate([np.empty(0, SAMPLE), *(item.samples for item in done)])
    lengths = [len(item.samples) for item in done]
    splits = np.repeat([plan.splits.index(job.split) for job in plan.jobs], lengths)
    domains = samples["domain"].astype(np.int64)
    whole = np.flatnonzero(samples["width"])
    duplicates = find_duplicates(
        samples["digest"][whole],
        splits[whole].astype(np.int64),
        domains[whole],
        num_splits=len(plan.splits),
        num_domains=len(plan.manifest.domains),
    )
    _name_equal(duplicates, plan, done, whole, np.cumsum([0, *lengths]), remarks)
    statistics = {
        name: _by_domain(plan.manifest, samples[splits == number], duplicates.copies[number])
        for number, name in enumerate(plan.splits)
    }
    return Report(plan.root, plan.manifest, plan.splits, statistics, duplicates, problems, remarks)


def _by_domain(
    manifest: Manifest, samples: NDArray[np.void], copies: NDArray[np.int64]
) -> dict[str, Statistics]:
    found: dict[str, Statistics] = {}
    for number, name in enumerate(manifest.domains):
        mine = samples[samples["domain"] == number]
        found[name] = statistics_of(mine, copies=int(copies[number]))
    unknown = samples[samples["domain"] < 0]
    if len(unknown):
        found[UNKNOWN] = statistics_of(unknown, copies=int(copies[-1]))
    return found


def _name_equal(
    duplicates: Duplicates,
    plan: Plan,
    done: Sequence[Checked],
    whole: NDArray[np.int64],
    starts: NDArray[np.int64],
    remarks: Findings,
) -> None:
    """Remark on groups of equal images by their shards and keys."""
    for group in duplicates.groups:
        names = []
        for place in whole[list(group)].tolist():
            owner = int(np.searchsorted(starts, place, "right")) - 1
            key = bytes(done[owner].keys[place - starts[owner]]).decode("ascii")
            names.append((plan.jobs[owner], key))
        (first, key), *others = names
        there = ", ".join(f"{job.shard.file} {other}" for job, other in others)
        text = f"its image is also that of {there}"
        remarks.add(EQUAL, first.split, first.shard.file, key, text)
