"""A ``datasets`` data set as a source: of the hub, of a folder, or of ``save_to_disk``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data.records import TRAIN, Content, Record
from srae_dist.data.sources.files import read_file


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a ``datasets`` data set, read in their stored form."""

    domains: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    tables: Mapping[str, Any]  # split -> Dataset of the columns below
    image_column: str
    label_names: Mapping[str, tuple[str, ...]]  # label column -> names of its numbers, or ()

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each row's image file and labels."""
        for record in records:
            part, _, number = record.place.rpartition("/")
            row = self.tables[part][int(number)]
            try:
                yield Content(_stored(row[self.image_column]), self._facts(row))
            except SampleError as error:
                yield error

    def _facts(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        labels = {}
        for column, names in self.label_names.items():
            value = row[column]
            if value is not None and not (names and value < 0):  # -1: the row is not labelled
                labels[column] = names[value] if names else value
        return {"labels": labels} if labels else {}


def from_dataset(
    name: str,
    *,
    split: str | None = None,
    image_column: str = "image",
    domain_column: str = "label",
    label_columns: Sequence[str] = (),
) -> Rows:
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
    domains: dict[str, None] = {}
    records: list[Record] = []
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
        except (TypeError, ValueError, NotImplementedError):
            raise UserError(
                f"Column '{image_column}' of the data set {name} holds no image files, but "
                f"{table.features[image_column]}; name another with --image-column."
            ) from None
        tables[part] = stored
        values, ordered = _domains_of(name, part, domain_column, stored)
        domains |= dict.fromkeys(ordered)
        records += [
            Record(part, value, str(row), f"{title}/{part}/{row}", f"{part}/{row}")
            for row, value in enumerate(values)
        ]
    return Rows(tuple(domains), tuple(records), (), tables, image_column, label_names)


def _load(name: str, split: str | None) -> dict[str, Any]:
    """Load a data set's splits by name, without decoding anything."""
    import datasets

    path = Path(name)
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:  # the package raises dozens of types for what is one to the user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"The data set {name} cannot be loaded: {reason}") from None
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


def _domains_of(name: str, part: str, column: str, table: Any) -> tuple[list[str], list[str]]:
    """Return each row's domain, and the domains in their order."""
    import datasets

    feature = table.features[column]
    values = table.select_columns([column])[:][column]
    is_class = isinstance(feature, datasets.ClassLabel)
    for row, value in enumerate(values):
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
    names = {value: feature.int2str(value) if is_class else str(value) for value in set(values)}
    safe = {value: re.sub(r"[^A-Za-z0-9_.-]+", "_", names[value]) for value in sorted(names)}
    if len(set(safe.values())) < len(safe):
        raise UserError(
            f"Column '{column}' of the data set {name} has names that differ only in signs: "
            f"{', '.join(sorted(names.values())[:8])}; rename them."
        )
    return [safe[value] for value in values], list(safe.values())


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
