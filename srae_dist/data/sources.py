"""Where images come from: folders, a ``datasets`` data set, or the built-in faces.

Each source lists records without reading an image, and reads them later, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data import folders
from srae_dist.data.images import MAX_BYTES
from srae_dist.data.records import TEST, TRAIN, Content, Record

_BLOCK = 256  # faces rendered together


@dataclass(frozen=True, slots=True)
class Folders:
    """Image files in a folder per domain."""

    domains: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    label: re.Pattern[str] | None = None  # finds labels in file names

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each file's bytes."""
        for record in records:
            try:
                yield Content(read_file(Path(record.place)), self._facts(record))
            except SampleError as error:
                yield error

    def _facts(self, record: Record) -> Mapping[str, Any]:
        labels = {} if self.label is None else labels_of(self.label, record.name)
        return {"labels": labels} if labels else {}


def from_domains(
    given: Mapping[str, Sequence[Path]], *, split: str, label: re.Pattern[str] | None = None
) -> Folders:
    """List the images of one or more folders for each domain, as one split.

    Raises:
        UserError: a folder is missing, empty or given twice.
    """
    records: list[Record] = []
    notes: list[str] = []
    _check_apart([root for roots in given.values() for root in roots])
    for domain, roots in given.items():
        for number, root in enumerate(roots):
            listing = folders.list_images(root)
            if listing.ignored:
                notes.append(f"{root}: {folders.describe(listing.ignored)}.")
            if not listing.images:
                raise UserError(f"{root} (domain '{domain}') holds no jpg, png or webp file.")
            base = (
                PurePosixPath(domain, str(number + 1)) if len(roots) > 1 else PurePosixPath(domain)
            )
            for image in listing.images:
                records.append(_file_record(root, image, split, domain, str(image), base / image))
    return _folders(tuple(given), records, notes, label)


def from_root(
    root: Path, *, split: str | None = None, label: re.Pattern[str] | None = None
) -> Folders:
    """List ``root/{split}/{domain}/...`` or ``root/{domain}/...``, whichever it is.

    ``split`` picks one of the splits found, or names the only one; default: all, or "train".

    Raises:
        UserError: ``root`` holds no images, or not the wanted split, or files in no domain.
    """
    listing = folders.list_images(root)
    if not listing.images:
        raise UserError(f"{root} holds no jpg, png or webp file; it needs a folder per domain.")
    notes = [f"{root}: {folders.describe(listing.ignored)}."] if listing.ignored else []
    nested = folders.by_split(root, listing.images)
    notes.insert(0, f"{root} is laid out as {'split/domain' if nested else 'domain'}/image.")
    depth = 2 if nested else 1
    records = []
    for image in listing.images:
        part = image.parts[0].lower() if nested else split or TRAIN
        name = PurePosixPath(*image.parts[depth:])
        records.append(_file_record(root, image, part, image.parts[depth - 1], str(name), image))
    if nested and split is not None:
        records = _pick(records, split, root)
    return _folders(tuple(sorted({r.domain for r in records})), records, notes, label)


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


@dataclass(frozen=True, slots=True)
class Faces:
    """The built-in faces: image i is of domain i mod m and has factors of its own."""

    domains: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    size: int
    seed: int

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each face, rendered with its neighbours, and its factors."""
        for start in range(0, len(records), _BLOCK):
            yield from self._render(records[start : start + _BLOCK])

    def _render(self, block: Sequence[Record]) -> Iterator[Content]:
        from srae_dist.data import faces

        rows = np.concatenate([self._factors(record.place) for record in block])
        pixels = np.empty((len(block), self.size, self.size, 3), np.uint8)
        for domain in self.domains:
            places = [i for i, record in enumerate(block) if record.domain == domain]
            if places:
                pixels[places] = faces.render(rows[places], domain, size=self.size)
        for place, row in enumerate(rows):
            # through str: the shortest number that is this float32
            factors = {
                name: float(str(value)) for name, value in zip(faces.FACTORS, row, strict=True)
            }
            yield Content(pixels[place], {"factors": factors})

    def _factors(self, place: str) -> NDArray[np.float32]:
        """Return the row of factors, in the table that the face's split alone draws from."""
        from srae_dist.data import faces

        part, _, number = place.rpartition("/")
        seed = randomness.seed_of(self.seed, "faces", part)  # so that splits share no face
        return faces.sample_factors(1, seed=seed, start=int(number))


def from_faces(
    count: int, domains: Sequence[str], *, size: int, seed: int, split: str | None = None
) -> Faces:
    """List ``count`` built-in faces to train on and a tenth as many to test, or one split alone.

    Raises:
        UserError: a domain is unknown or repeated, or there are fewer faces than domains.
    """
    from srae_dist.data.faces import DOMAINS

    for place, domain in enumerate(domains):
        if domain not in DOMAINS:
            raise UserError(
                f"--domains names '{domain}', but the built-in faces have {', '.join(DOMAINS)}."
                f"{did_you_mean(domain, DOMAINS)}"
            )
        if domain in domains[:place]:
            raise UserError(f"--domains names '{domain}' twice.")
    if count < len(domains):
        raise UserError(f"--faces {count} is fewer than the {len(domains)} domains; give more.")
    tenth = max(len(domains), -(-count // 10))
    counts = {TRAIN: count, TEST: tenth} if split is None else {split: count}
    records = tuple(
        Record(part, domains[i % len(domains)], str(i), f"faces/{part}/{i}", f"{part}/{i}")
        for part, number in counts.items()
        for i in range(number)
    )
    return Faces(tuple(domains), records, (), size, seed)


def labels_of(pattern: re.Pattern[str], name: str) -> dict[str, str]:
    """Return the labels a pattern finds in a file's name: its named groups, or group 1 as "label".

    A group that took no part gives no label.
    """
    match = pattern.search(PurePosixPath(name).name)
    if match is None:
        return {}
    found = match.groupdict() if pattern.groupindex else {"label": match.group(1)}
    return {key: value for key, value in found.items() if value is not None}


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        SampleError: it cannot be read, is no plain file, or is larger than ``MAX_BYTES``.
    """
    try:
        if not path.is_file():
            raise SampleError("not a file, or a link that leads nowhere")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SampleError(f"{size:,} bytes are more than {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise SampleError(error.strerror or str(error)) from None


def _file_record(
    root: Path, image: PurePosixPath, split: str, domain: str, name: str, origin: PurePosixPath
) -> Record:
    printable = folders.printable
    return Record(split, domain, printable(name), printable(str(origin)), str(root / image))


def _folders(
    domains: tuple[str, ...],
    records: Sequence[Record],
    notes: Sequence[str],
    label: re.Pattern[str] | None,
) -> Folders:
    if label is not None:
        missed = [record for record in records if not label.search(Path(record.name).name)]
        if missed:
            raise UserError(
                f"--label-regex '{label.pattern}' does not match {len(missed)} of {len(records)} "
                f"file names, {missed[0].origin} first; change it."
            )
    return Folders(domains, tuple(records), tuple(notes), label)


def _check_apart(roots: Sequence[Path]) -> None:
    """Refuse folders that lie in one another: their images would be written twice."""
    real = [(root, root.resolve()) for root in roots]
    for place, (root, path) in enumerate(real):
        for other, other_path in real[:place]:
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                raise UserError(f"The folders {other} and {root} overlap; keep them apart.")


def _pick(records: Sequence[Record], split: str, root: Path) -> list[Record]:
    picked = [record for record in records if record.split == split]
    if not picked:
        found = sorted({record.split for record in records})
        raise UserError(
            f"{root} has no split '{split}' (it has {', '.join(found)})."
            f"{did_you_mean(split, found)}"
        )
    return picked


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
