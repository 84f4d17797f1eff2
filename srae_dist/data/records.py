"""What is to be written, before anything is read: records, and which split each belongs to.

Every choice here is a hash of a record's name, so it depends on neither the order nor the number
of the others: adding files moves no file from one split to another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data.images import Pixels
from srae_dist.data.manifest import NAME_PATTERN

TRAIN, TEST = "train", "test"
MOST_DOMAINS = 1 << 16  # an index numbers them so
SPLIT_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")  # it begins its samples' keys

Integers = NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Record:
    """One image that a source offers."""

    split: str
    domain: str
    name: str  # path in the domain's folder, or row number; what hashes are taken of
    origin: str  # where it came from, as the sample's .json tells
    place: str  # where the source finds it: a file's path, or split/row


class Names(Protocol):
    """What a source calls its rows, made when asked for: a million names are no small thing."""

    def __call__(self, row: int) -> tuple[str, str, str]:
        """Return a row's name, origin and place."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Records(Sequence[Record]):
    """Some rows of what a source offers, in some order: columns of numbers, no record held."""

    names: Names
    splits: tuple[str, ...]  # what the numbers of split mean
    domains: tuple[str, ...]
    split: Integers  # n
    domain: Integers  # n
    rows: Integers  # n: the names' row of each

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Records: ...
    def __getitem__(self, place: int | slice) -> Record | Records:
        if isinstance(place, slice):
            return self.take(place)
        split, domain = self.splits[self.split[place]], self.domains[self.domain[place]]
        return Record(split, domain, *self.names(int(self.rows[place])))

    def __iter__(self) -> Iterator[Record]:
        return map(self.__getitem__, range(len(self)))

    def take(self, places: slice | NDArray[np.bool_] | Integers) -> Records:
        """Return the records at some places."""
        return replace(
            self, split=self.split[places], domain=self.domain[places], rows=self.rows[places]
        )

    def held_splits(self) -> list[str]:
        """Return the splits that some record is of, sorted."""
        return sorted(self.splits[number] for number in np.unique(self.split))

    def held_domains(self) -> list[str]:
        """Return the domains that some record is of, sorted."""
        return sorted(self.domains[number] for number in np.unique(self.domain))


@dataclass(frozen=True, slots=True)
class Content:
    """What a record holds once read."""

    image: bytes | Pixels  # an image file, or its pixels
    facts: Mapping[str, Any] = field(default_factory=dict)  # "labels" or "factors", by name


class Reader(Protocol):
    """Reads records, here or in another process; light to send there."""

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each record's content, or why it cannot be read, in the records' order."""
        ...

    def identity(self) -> str:
        """Say what contents depend on besides records and ``stamp``, equal on every machine."""
        ...

    def stamp(self, records: Sequence[Record]) -> str:
        """Return a text that changes with the records' contents, as far as is cheap to tell."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where images come from."""

    domains: tuple[str, ...]  # in their order
    records: Records  # all that it offers, in an order that depends on names alone
    reader: Reader
    notes: tuple[str, ...] = ()  # what a user should know of what was found


def choose(
    source: Source, *, holdout: float | None, limits: Mapping[str, int], seed: int
) -> dict[str, Records]:
    """Choose each split's records and put them in the order they are written in.

    Raises:
        UserError: a name, the share or a limit does not fit.
    """
    check_names(source)
    records = source.records
    if holdout is not None:
        records = hold_out(records, holdout)
    if limits:
        records = limit(records, limits, seed=seed)
    return shuffled(records, seed=seed)


def check_names(source: Source) -> None:
    """Hold a source's domains and splits against what shards can carry.

    Raises:
        UserError: there are fewer than two domains, too many, or a name is not safe in paths and
            keys.
    """
    if len(source.domains) < 2:
        raise UserError(
            f"There is only the domain {', '.join(source.domains)}; translation needs two or "
            "more, so name another with --domain NAME=DIR."
        )
    if len(source.domains) > MOST_DOMAINS:
        raise UserError(
            f"There are {len(source.domains):,} domains, {source.domains[0]} first, but shards "
            f"can number {MOST_DOMAINS:,}; choose what tells the domains apart."
        )
    for domain in source.domains:
        if not NAME_PATTERN.fullmatch(domain) or ".." in domain:
            raise UserError(
                f"The domain name '{domain}' is not made of up to 64 ASCII letters, digits, '.', "
                "'_' and '-', a letter or digit first; give it another NAME with --domain "
                f"NAME=DIR{_as_in(domain)}."
            )
    for split in source.records.held_splits():
        check_split(split)


def _as_in(domain: str) -> str:
    """Show a name like ``domain`` that would do, if there is one."""
    ascii_only = unicodedata.normalize("NFKD", domain).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", ascii_only).strip("_")
    return f", as in --domain {name}=DIR" if NAME_PATTERN.fullmatch(name) else ""


def check_split(name: str) -> None:
    """Refuse a split's name that cannot begin a key.

    Raises:
        UserError: it is such a name.
    """
    if not SPLIT_PATTERN.fullmatch(name):
        raise UserError(
            f"The split name '{name}' is not made of up to 32 lower-case ASCII letters, digits, "
            "'_' and '-'; choose another."
        )


def hold_out(records: Records, share: float) -> Records:
    """Move about ``share`` of all records to the split "test", chosen by a hash of their names.

    The same name in two domains goes the same way, so pairs are not torn apart.

    Raises:
        UserError: there is a test split already.
    """
    if not 0.0 < share < 1.0:
        raise UserError(f"--holdout is {share}, but a share lies between 0 and 1; try 0.05.")
    if TEST in records.held_splits():
        raise UserError(
            "--holdout makes a test split, but the input has one; leave --holdout out, "
            "or choose another split with --split."
        )
    bar = int(share * 2.0**63)
    held = np.fromiter(
        (randomness.seed_of(0, "holdout", record.name) < bar for record in records),
        np.bool_,
        len(records),
    )
    splits = tuple(dict.fromkeys((*records.splits, TEST)))
    return replace(records, splits=splits, split=np.where(held, splits.index(TEST), records.split))


def limit(records: Records, limits: Mapping[str, int], *, seed: int) -> Records:
    """Keep at most ``limits[domain]`` records of a domain in each split, chosen by a seeded hash.

    Raises:
        UserError: a limit names no domain of the records, or is not positive.
    """
    known = records.held_domains()
    for domain, most in limits.items():
        if domain not in known:
            raise UserError(
                f"--limit names the domain '{domain}', but there are {', '.join(known)}."
                f"{did_you_mean(domain, known)}"
            )
        if most < 1:
            raise UserError(f"--limit {domain}={most} keeps nothing; give a number above 0.")
    kept = np.ones(len(records), np.bool_)
    for domain, most in limits.items():
        for split in records.held_splits():
            group = _group(records, split, domain)
            kept[group[_ranked(records.take(group), seed)[most:]]] = False
    return records.take(kept)


def shuffled(records: Records, *, seed: int) -> dict[str, Records]:
    """Return each split's records in the order they are written in: shuffled over all domains."""
    splits = {}
    for name in records.held_splits():
        mine = np.flatnonzero(records.split == records.splits.index(name))
        order = randomness.generator(seed, "shard", name).permutation(len(mine))
        splits[name] = records.take(mine[order])
    return splits


def _group(records: Records, split: str, domain: str) -> Integers:
    """Return the places of a domain's records in a split."""
    of_split = records.split == records.splits.index(split)
    return np.flatnonzero(of_split & (records.domain == records.domains.index(domain)))


def _ranked(records: Records, seed: int) -> Integers:
    """Return places ordered by a seeded hash of the records' names."""
    hashes = (randomness.seed_of(seed, "limit", r.domain, r.name) for r in records)
    return np.argsort(np.fromiter(hashes, np.int64, len(records)), kind="stable")
