"""What is to be written, before anything is read: records, and which split each belongs to.

Every choice here is a hash of a record's name, so it depends on neither the order nor the number
of the others: adding files moves no file from one split to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from srae_dist.core import randomness
from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data.images import Pixels
from srae_dist.data.manifest import NAME_PATTERN

TRAIN, TEST = "train", "test"
SPLIT_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # it begins its samples' keys


@dataclass(frozen=True, slots=True)
class Record:
    """One image that a source offers."""

    split: str
    domain: str
    name: str  # path in the domain's folder, or row number; what hashes are taken of
    origin: str  # where it came from, as the sample's .json tells
    place: str  # where the source finds it: a file's path, or split/row


@dataclass(frozen=True, slots=True)
class Content:
    """What a record holds once read."""

    image: bytes | Pixels  # an image file, or its pixels
    facts: Mapping[str, Any] = field(default_factory=dict)  # "labels" or "factors", by name


class Source(Protocol):
    """Where images come from."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Their names, in their order."""
        ...

    @property
    def records(self) -> tuple[Record, ...]:
        """All that it offers, in an order that depends on names alone."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of what was found."""
        ...

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each record's content, or why it cannot be read, in the records' order."""
        ...


def check_names(source: Source) -> None:
    """Hold a source's domains and splits against what shards can carry.

    Raises:
        UserError: there are fewer than two domains, or a name is not safe in paths and keys.
    """
    if len(source.domains) < 2:
        raise UserError(
            f"There is only the domain {', '.join(source.domains)}; translation needs two or more."
        )
    for domain in source.domains:
        if not NAME_PATTERN.fullmatch(domain) or ".." in domain:
            raise UserError(
                f"The domain name '{domain}' is not made of letters, digits, '.', '_' and '-'; "
                "rename its folder, or name it with --domain NAME=DIR."
            )
    for split in sorted({record.split for record in source.records}):
        check_split(split)


def check_split(name: str) -> None:
    """Refuse a split's name that cannot begin a key.

    Raises:
        UserError: it is such a name.
    """
    if not SPLIT_PATTERN.fullmatch(name):
        raise UserError(
            f"The split name '{name}' is not made of lower-case letters, digits, '_' and '-'; "
            "choose another."
        )


def hold_out(records: Sequence[Record], share: float) -> list[Record]:
    """Move about ``share`` of all records to the split "test", chosen by a hash of their names.

    The same name in two domains goes the same way, so pairs are not torn apart.

    Raises:
        UserError: there is a test split already.
    """
    if not 0.0 < share < 1.0:
        raise UserError(f"--holdout is {share}, but a share lies between 0 and 1; try 0.05.")
    if any(record.split == TEST for record in records):
        raise UserError(
            "--holdout makes a test split, but the input has one; leave --holdout out, "
            "or choose another split with --split."
        )
    bar = int(share * 2.0**63)
    return [
        replace(record, split=TEST)
        if randomness.seed_of(0, "holdout", record.name) < bar
        else record
        for record in records
    ]


def limit(records: Sequence[Record], limits: Mapping[str, int], *, seed: int) -> list[Record]:
    """Keep at most ``limits[domain]`` records of a domain in each split, chosen by a seeded hash.

    Raises:
        UserError: a limit names no domain of the records, or is not positive.
    """
    known = sorted({record.domain for record in records})
    for domain, most in limits.items():
        if domain not in known:
            raise UserError(
                f"--limit names the domain '{domain}', but there are {', '.join(known)}."
                f"{did_you_mean(domain, known)}"
            )
        if most < 1:
            raise UserError(f"--limit {domain}={most} keeps nothing; give a number above 0.")
    ranked = sorted(
        (r for r in records if r.domain in limits),
        key=lambda r: (randomness.seed_of(seed, "limit", r.domain, r.name), r.origin),
    )
    taken: dict[tuple[str, str], int] = {}
    dropped: set[Record] = set()
    for record in ranked:
        group = (record.split, record.domain)
        taken[group] = taken.get(group, 0) + 1
        if taken[group] > limits[record.domain]:
            dropped.add(record)
    return [record for record in records if record not in dropped]


def shuffled(records: Iterable[Record], *, seed: int) -> dict[str, list[Record]]:
    """Return each split's records in the order they are written in: shuffled over all domains."""
    splits: dict[str, list[Record]] = {}
    for record in records:
        splits.setdefault(record.split, []).append(record)
    return {name: _permuted(splits[name], seed) for name in sorted(splits)}


def _permuted(records: list[Record], seed: int) -> list[Record]:
    order = randomness.generator(seed, "shard", records[0].split).permutation(len(records))
    return [records[place] for place in order]
