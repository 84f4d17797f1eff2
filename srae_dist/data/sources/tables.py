"""A ``datasets`` data set as a source: of the hub, of a folder, or of ``save_to_disk``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data.records import TRAIN, Content, Integers, Record, Records, Source
from srae_dist.data.sources.files import read_file

_MANY = 10_000  # rows whose domains are looked at together


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of a ``datasets`` data set in their stored form."""

    tables: Mapping[str, Any]  # split -> Dataset of the columns below
    image_column: str
    label_names: Mapping[str, tuple[str, ...]]  # label column -> names of its numbers, or ()
    fingerprints: str  # of the tables, as ``datasets`` gives them

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each row's image file and labels."""
        for record in records:
            part, _, number = record.place.rpartition("/")
            row = self.tables[part][int(number)]
            try:
                yield Content(_stored(row[self.image_column]), self._facts(row))
            except SampleError as error:
                yield error

    def identity(self) -> str:
        """Say which columns are taken."""
        return f"rows/{self.image_column}/{json.dumps(self.label_names, sort_keys=True)}"

    def stamp(self, records: Sequence[Record]) -> str:
        """Return the tables' fingerprints."""
        return self.fingerprints

    def _facts(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        labels = {}
        for column, names in self.label_names.items():
            value = row[column]
            if value is not None and not (names and value < 0):  # -1: the row is not labelled
                labels[column] = names[value] if names else value
        return {"labels": labels} if labels else {}


@dataclass(frozen=True, slots=True)
class _RowNames:
    """Names of the rows: their numbers in their splits."""

    title: str
    parts: tuple[str, ...]
    starts: Integers  # the first row of each part

    def __call__(self, row: int) -> tuple[str, str, str]:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        part, place = self.parts[number], row - int(self.starts[number])
        return str(place), f"{self.title}/{part}/{place}", f"{part}/{place}"


def from_dataset(
    name: str,
    *,
    split: str | None = None,
    image_column: str = "image",
    domain_column: str = "label",
    label_columns: Sequence[str] = (),
) -> Source:
    """List the rows of a data set of the hub, of a folder, or of ``save_to_disk``.

    Domains are the values of a column: the names of a ``ClassLabel``, strings, or whole numbers.

    Raises:
        UserError: it cannot be loaded, or lacks the split or a column, or a column has another
            type, or a row has no domain.
    """
    import datasets

    loaded = _load(name, split)
    columns = list(dict.fromkeys((image_column, domain_column, *label_columns)))
    title = Path(name).resolve().name if Path(name).exists() else name
    tables: dict[str, Any] = {}
    domains: dict[str, int] = {}
    numbers: list[NDArray[np.int32]] = []
    label_names: dict[str, tuple[str, ...]] = {}
    for part, table in loaded.items():
        for column in columns:
            if column not in table.column_names:
                raise UserError(
                    f"The data set {name} has no column '{column}' (it has "
                    f"{', '.join(table.column_names)}).{did_you_mean(column, table.column_names)}"
                )
        label_names |= {c: _label_names(name, c, table.features[c]) for c in label_columns}
        try:
            stored = table.select_columns(columns).cast_column(
                image_column, datasets.Image(decode=False)
            )
        except (TypeError, ValueError, NotImplementedError):  # what datasets says of other columns
            raise UserError(
                f"Column '{image_column}' of the data set {name} holds no image files, but "
                f"{table.features[image_column]}; name another with --image-column."
            ) from None
        tables[part] = stored
        values, ordered = _domains_of(name, part, domain_column, stored)
        known = [domains.setdefault(domain, len(domains)) for domain in ordered]
        numbers.append(np.array(known, np.int32)[values])
    counts = np.array([len(column) for column in numbers])
    part_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    records = Records(
        _RowNames(title, tuple(tables), np.cumsum(counts) - counts),
        tuple(tables),
        tuple(domains),
        part_of,
        np.concatenate(numbers),
        np.arange(len(part_of)),
    )
    prints = "/".join(str(getattr(table, "_fingerprint", "")) for table in loaded.values())
    return Source(tuple(domains), records, RowReader(tables, image_column, label_names, prints))


def _load(name: str, split: str | None) -> dict[str, Any]:
    """Load a data set's splits by name, without decoding anything."""
    import datasets

    path = Path(name)
    if name.startswith((".", "/", "~")) and not path.exists():
        raise UserError(
            f"--dataset {name} cannot be loaded: there is no such folder; name another."
        )
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:  # the package raises dozens of types for what is one to the user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--dataset {name} cannot be loaded ({reason.rstrip('.')}); give a folder, or a name "
            "of the hub."
        ) from None
    if not isinstance(loaded, dict):
        return {split or TRAIN: loaded}
    if split is None:
        return {str(part): table for part, table in loaded.items()}
    if split not in loaded:
        raise UserError(
            f"The data set {name} has no split '{split}' (it has {', '.join(map(str, loaded))})."
            f"{did_you_mean(split, map(str, loaded))}"
        )
    return {split: loaded[split]}


def _domains_of(
    name: str, part: str, column: str, table: Any
) -> tuple[NDArray[np.int32], list[str]]:
    """Return the number of each row's domain, and the domains in their order."""
    import datasets

    feature = table.features[column]
    is_class = isinstance(feature, datasets.ClassLabel)
    found: dict[Any, int] = {}
    numbers = np.empty(len(table), np.int32)
    for row, value in enumerate(_values(table, column)):
        if value is None or (is_class and value < 0):
            raise UserError(
                f"Row {row} of split '{part}' of {name} has no domain in column '{column}'; "
                "pick another split with --split or another column with --domain-column."
            )
        if not isinstance(value, str | int):
            raise UserError(
                f"Column '{column}' of the data set {name} holds {feature}, not domains; "
                "name another with --domain-column."
            )
        numbers[row] = found.setdefault(value, len(found))
    names = {value: feature.int2str(value) if is_class else str(value) for value in found}
    safe = {value: re.sub(r"[^A-Za-z0-9_.-]+", "_", names[value]) for value in sorted(names)}
    if len(set(safe.values())) < len(safe):
        raise UserError(
            f"Column '{column}' of the data set {name} has names that differ only in signs: "
            f"{', '.join(sorted(names.values())[:8])}; rename them."
        )
    order = {value: place for place, value in enumerate(safe)}
    places = np.array([order[value] for value in found], np.int32)
    return places[numbers], list(safe.values())


def _values(table: Any, column: str) -> Iterator[Any]:
    """Yield a column's values without holding them all."""
    for batch in table.select_columns([column]).iter(batch_size=_MANY):
        yield from batch[column]


def _label_names(name: str, column: str, feature: Any) -> tuple[str, ...]:
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    if re.match(r"u?int|float|bool|string|large_string", str(getattr(feature, "dtype", ""))):
        return ()
    raise UserError(
        f"Column '{column}' of the data set {name} holds {feature}, which is no label; "
        "--label-column takes numbers, names and classes."
    )


def _stored(value: Any) -> bytes:
    """Return the bytes of an image as ``datasets`` stores it: in the table, or as a file."""
    if not isinstance(value, dict):
        raise SampleError("the row has no image")
    if isinstance(value.get("bytes"), bytes):
        return bytes(value["bytes"])
    if isinstance(value.get("path"), str):
        return read_file(Path(value["path"]))
    raise SampleError("the row has no image")
