"""What a check finds: counted by kind, the first ones named; so that what is kept stays small,
however much is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

KEPT = 1000  # findings of a kind that are named; all are counted

_LONGEST = 600  # characters of a name or reason


class Finding(NamedTuple):
    """One thing that was found, and where; empty where it concerns more than one."""

    kind: str
    split: str
    shard: str  # file
    key: str
    what: str

    def sentence(self) -> str:
        """Say where and what in one line."""
        place = f"{self.shard}, sample {self.key}" if self.key else self.shard or self.split
        return f"{place}: {self.what}" if place else self.what


@dataclass(slots=True)
class Findings:
    """Findings in the order they were made, the first ``KEPT`` of each kind."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, kind: str, split: str, shard: str, key: str, what: str) -> None:
        """Count a finding, and keep it while there are few of its kind."""
        kept = self.first.setdefault(kind, [])
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(kept) < KEPT:
            kept.append(Finding(kind, split, shard, printable(key), printable(what)))

    def extend(self, other: Findings) -> None:
        """Add all of another's."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            kept = self.first.setdefault(kind, [])
            kept += other.first[kind][: KEPT - len(kept)]

    def total(self) -> int:
        """Number of findings, named or not."""
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Finding]:
        """Yield the first of each kind, then the second of each, and so on."""
        for row in itertools.zip_longest(*self.first.values()):
            yield from (one for one in row if one is not None)


def printable(text: str) -> str:
    """Return text as one line that any terminal and any file can show, whatever a tar file says."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
