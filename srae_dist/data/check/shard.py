"""One shard, checked from its first byte to its last: digests, tar structure, samples, images.

Nothing that is wrong is an exception; whatever is found is written down and the check goes on.
Two passes: one for the digests, one for the members. One image is in memory at a time.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError
from srae_dist.data import images
from srae_dist.data.check.findings import Findings
from srae_dist.data.check.samples import (
    SAMPLE,
    Seen,
    image_format,
    is_flat,
    original_size,
    parse_domain,
    sixteen,
)
from srae_dist.data.digests import BlockDigests
from srae_dist.data.manifest import BLOCK, Digests, Index, Shard
from srae_dist.data.tar import UNIT
from srae_dist.data.walk import Kind, Member, TarDamage, is_safe, split_name, walk

_LARGEST_JSON = 1 << 20  # bytes
_LARGEST_CLS = 64

Alive = Callable[[], None]  # called often; raises to stop the work


@dataclass(frozen=True, slots=True)
class Job:
    """A shard, and all that is said of it; light to send to another process."""

    root: Path
    split: str
    shard: Shard
    domains: tuple[str, ...]
    image_size: int | None
    image_format: str
    rows: Index | None  # None where the split's index cannot be read
    blocks: Digests | None
    left_out: frozenset[str]  # keys that the index left out knowingly


@dataclass(slots=True)
class Checked:
    """What a shard holds, and what is wrong with it; n samples found, in the tar's order."""

    samples: NDArray[np.void]  # n, of type SAMPLE
    keys: NDArray[np.bytes_]  # n
    problems: Findings = field(default_factory=Findings)
    remarks: Findings = field(default_factory=Findings)


def check_shard(job: Job, *, alive: Alive = lambda: None) -> Checked:
    """Check a shard against everything that manifest and index say of it."""
    return _Check(job, alive).run()


class _Group(NamedTuple):
    """Members of one sample, next to each other."""

    key: str
    members: dict[str, Member]  # by suffix


class _Check:
    """The state of one shard's check."""

    def __init__(self, job: Job, alive: Alive) -> None:
        self._job, self._alive = job, alive
        self._problems, self._remarks = Findings(), Findings()
        self._seen: list[Seen] = []
        self._keys: list[str] = []
        rows = job.rows
        names = [] if rows is None else [row_key(rows, row) for row in range(len(rows))]
        self._row_of = {name: row for row, name in enumerate(names)}
        self._offsets = np.empty(0, np.uint64) if rows is None else np.sort(rows.offset)
        self._met: set[str] = set()
        self._last_row = -1

    def run(self) -> Checked:
        path = self._job.root / self._job.shard.file
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                self._problem("missing_shard", "", "it is not a file")
            else:
                with path.open("rb") as file:
                    length = self._check_digests(file)
                    for group in self._groups(file, length):
                        self._alive()
                        self._check_sample(file, group)
                    self._check_rows()
        except OSError as error:
            self._problem("missing_shard", "", f"it cannot be read: {error.strerror or error}")
        self._check_counts()
        samples = np.array(self._seen, SAMPLE)
        keys = np.array([key.encode("ascii", "backslashreplace") for key in self._keys], np.bytes_)
        return Checked(samples, keys, self._problems, self._remarks)

    def _problem(self, kind: str, key: str, what: str) -> None:
        self._problems.add(kind, self._job.split, self._job.shard.file, key, what)

    def _remark(self, kind: str, key: str, what: str) -> None:
        self._remarks.add(kind, self._job.split, self._job.shard.file, key, what)

    def _check_digests(self, file: BinaryIO) -> int:
        """Compare the file's bytes with manifest and index; return their number."""
        digests, shard = BlockDigests(), self._job.shard
        while chunk := file.read(BLOCK):
            digests.update(chunk)
            self._alive()
        if digests.bytes != shard.bytes:
            text = f"it has {digests.bytes:,} bytes, the manifest says {shard.bytes:,}"
            self._problem("bytes", "", text)
        if digests.sha256() != shard.sha256:
            self._problem("sha256", "", "its SHA-256 is not the manifest's")
        if self._job.blocks is None:
            return digests.bytes
        found, wanted = digests.digests(), self._job.blocks
        both = min(len(found), len(wanted))
        for number in np.flatnonzero((found[:both] != wanted[:both]).any(axis=1)).tolist():
            self._problem("block", "", f"MiB {number} is damaged{self._samples_in(number)}")
        for number in range(both, min(len(wanted), both + 1)):
            self._problem("block", "", f"MiB {number} and what follows is missing")
        return digests.bytes

    def _samples_in(self, block: int) -> str:
        """Say which samples have bytes in a block."""
        rows = self._job.rows
        if rows is None or not len(rows):
            return ""
        begin, end = block * BLOCK, (block + 1) * BLOCK
        first = max(0, int(np.searchsorted(rows.offset, begin, "right")) - 1)
        last = max(first, int(np.searchsorted(rows.offset, end, "left")) - 1)
        return f" (samples {row_key(rows, first)} to {row_key(rows, last)})"

    def _groups(self, file: BinaryIO, length: int) -> Iterator[_Group]:
        """Yield samples as webdataset groups members."""
        key, members = "", dict[str, Member]()
        for member in self._members(file, length):
            own_key, suffix = self._name_of(member)
            if not own_key:
                continue
            if own_key != key:
                if members:
                    yield _Group(key, members)
                key, members = own_key, {}
            if suffix in members:
                self._problem("duplicate_member", key, f"it has two members .{suffix}")
            else:
                members[suffix] = member
        if members:
            yield _Group(key, members)

    def _members(self, file: BinaryIO, length: int) -> Iterator[Member]:
        """Yield all members; after damage go on at the next image that the index knows."""
        start: int | None = 0
        while start is not None:
            try:
                yield from walk(file, length=length, start=start)
                return
            except TarDamage as damage:
                self._problem("tar", "", str(damage))
                start = self._next_known(damage.place)
            self._alive()

    def _next_known(self, place: int) -> int | None:
        """Return where the first header begins, behind ``place``, that the index promises."""
        after = int(np.searchsorted(self._offsets, np.uint64(place + UNIT), "right"))
        return int(self._offsets[after]) - UNIT if after < len(self._offsets) else None

    def _name_of(self, member: Member) -> tuple[str, str]:
        """Return key and suffix of a member that may belong to a sample, else empty ones."""
        if member.kind is Kind.FOLDER:
            return "", ""
        if member.kind is Kind.OTHER:
            self._problem("special_member", "", f"member '{member.name}' is {member.kind.value}")
            return "", ""
        if not is_safe(member.name):
            self._problem("unsafe_name", "", f"member '{member.name}' has an unsafe name")
            return "", ""
        key, suffix = split_name(member.name)
        if not key:
            self._remark("other_member", "", f"member '{member.name}' belongs to no sample")
        return key, suffix

    def _check_sample(self, file: BinaryIO, group: _Group) -> None:
        key, members = group
        if key in self._met:
            self._problem("duplicate_key", key, "its key comes again, or its members lie apart")
            return
        self._met.add(key)
        others = sorted(members.keys() - {*images.SUFFIXES, "cls", "json"})
        if others:
            self._remark("other_member", key, f"it has other members: {', '.join(others)}")
        found = [suffix for suffix in images.SUFFIXES if suffix in members]
        if len(found) != 1:
            text = f"it has {len(found)} images among its members {', '.join(sorted(members))}"
            self._problem("missing_member", key, text)
            if not found:
                return
        image = members[found[0]]
        domain = self._check_domain(file, key, members.get("cls"))
        row = self._check_row(key, image, domain)
        if row is None and self._job.rows is not None:
            return  # nobody will ever read it
        info = self._check_json(file, key, members.get("json"))
        self._check_image(file, key, found[0], image, domain, info)

    def _check_domain(self, file: BinaryIO, key: str, member: Member | None) -> int:
        """Return the domain's number, or -1."""
        if member is None:
            self._problem("missing_member", key, "it has no .cls")
            return -1
        data = _read(file, member) if member.size <= _LARGEST_CLS else b""
        number = parse_domain(data)
        if number is None:
            self._problem("cls", key, "its .cls is not a domain's number")
            return -1
        if number >= len(self._job.domains):
            self._problem("cls", key, f"its .cls says domain {number}, which the manifest has not")
            return -1
        return number

    def _check_row(self, key: str, image: Member, domain: int) -> int | None:
        """Compare a sample with its row of the index; return the row's number."""
        rows = self._job.rows
        if rows is None:
            return None
        row = self._row_of.get(key)
        if row is None:
            if key not in self._job.left_out:
                self._problem("unlisted", key, "the index does not know it")
            return None
        if row < self._last_row:
            self._problem("order", key, "it comes later in the tar file than in the index")
        self._last_row = max(row, self._last_row)
        place, size = int(rows.offset[row]), int(rows.size[row])
        if (place, size) != (image.offset, image.size):
            text = f"the index has its image at byte {place:,}, {size:,} bytes long; "
            text += f"it is at {image.offset:,}, {image.size:,} bytes long"
            self._problem("index_place", key, text)
        listed = int(rows.domain[row])
        if domain >= 0 and domain != listed:
            names = self._job.domains
            text = f"its .cls says {names[domain]}, the index {names[listed]}"
            self._problem("cls", key, text)
        return row

    def _check_json(self, file: BinaryIO, key: str, member: Member | None) -> Any:
        if member is None:
            return None
        if member.size > _LARGEST_JSON:
            self._problem("json", key, f"its .json has {member.size:,} bytes")
            return None
        try:
            return json.loads(_read(file, member))
        except (ValueError, RecursionError) as error:
            self._problem("json", key, f"its .json cannot be parsed: {error}")
            return None

    def _check_image(
        self, file: BinaryIO, key: str, suffix: str, member: Member, domain: int, info: Any
    ) -> None:
        width = height = 0
        flat, digest, data = False, (0, 0), b""
        try:
            if member.size > images.MAX_BYTES:
                raise SampleError(f"{member.size:,} bytes are more than {images.MAX_BYTES:,}")
            data = _read(file, member)
            pixels, (width, height) = self._decode(data)
            flat, digest = is_flat(pixels), sixteen(data)
        except SampleError as error:
            self._problem("broken_image", key, f"its image cannot be decoded: {error}")
        else:
            self._check_form(key, suffix, data, (width, height))
        if flat:
            self._remark("flat_image", key, "its image is flat: one colour all over")
        size = min(member.size, 0xFFFFFFFF)
        self._seen.append(Seen(domain, size, width, height, *original_size(info), flat, digest))
        self._keys.append(key)

    def _decode(self, data: bytes) -> tuple[images.Pixels, tuple[int, int]]:
        """Return pixels and the image's own size, as training will see them."""
        if self._job.image_size is not None:
            return images.read_square(data, self._job.image_size)
        pixels = np.asarray(images.decode(data))
        return pixels, (pixels.shape[1], pixels.shape[0])

    def _check_form(self, key: str, suffix: str, data: bytes, size: tuple[int, int]) -> None:
        wanted = self._job.image_size
        if wanted is not None and size != (wanted, wanted):
            text = f"its image is {size[0]} x {size[1]}, the manifest says {wanted} x {wanted}"
            self._problem("image_size", key, text)
        named = "jpg" if suffix == "jpeg" else suffix
        if self._job.image_format not in (named, "mixed"):
            text = f"its image is named .{suffix}, the manifest says {self._job.image_format}"
            self._problem("image_format", key, text)
        if (held := image_format(data)) != named:
            self._remark("misnamed_image", key, f"its image is named .{suffix}, but is {held}")

    def _check_rows(self) -> None:
        """Every row of the index should have had its sample."""
        for key in self._row_of:
            if key not in self._met:
                self._problem("missing_sample", key, "the index has it, the tar file has not")

    def _check_counts(self) -> None:
        """Compare the manifest's counts with the index, or with the tar file if there is none."""
        names, rows = self._job.domains, self._job.rows
        if rows is None:
            numbers: list[int] = [seen.domain for seen in self._seen]
        else:
            numbers = rows.domain.tolist()
        held = Counter(numbers)
        counts = {name: held[number] for number, name in enumerate(names) if held[number]}
        said = {name: count for name, count in self._job.shard.domains.items() if count}
        if counts != said:
            text = f"it holds {_counted(counts)}; the manifest says {_counted(said)}"
            self._problem("counts", "", text)
        if sum(said.values()) != self._job.shard.samples:
            text = f"the manifest says {self._job.shard.samples:,} samples, but {_counted(said)}"
            self._problem("counts", "", text)


def row_key(rows: Index, row: int) -> str:
    """Return a row's key, whatever bytes it is made of."""
    return bytes(rows.keys[row]).decode("ascii", "backslashreplace")


def _read(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in list(counts.items())[:20]) or "nothing"
