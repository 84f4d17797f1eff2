"""Plain WebDataset shards become ours: checked, counted and indexed where they lie.

Members are grouped into samples by webdataset's own rule. Images are not decoded, only their
headers are read; nothing is unpickled, and no member but the allowed ones is accepted.
"""

from __future__ import annotations

import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.digests import digests_of_file
from srae_dist.data.folders import SPLIT_NAMES
from srae_dist.data.images import MAX_BYTES, read_size
from srae_dist.data.images import SUFFIXES as IMAGE_SUFFIXES
from srae_dist.data.manifest import MANIFEST, Index, Manifest, Shard, Split, load_manifest
from srae_dist.data.publish import Bad, Written, publish, save_split_index
from srae_dist.data.records import TRAIN, check_split
from srae_dist.data.workplace import workplace

SUFFIXES = frozenset((*IMAGE_SUFFIXES, "cls", "json"))

_LONGEST_KEY = 200
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")


class Row(NamedTuple):
    """One sample of a plain shard."""

    key: str
    domain: int
    suffix: str  # of the image member
    offset: int  # of the image's bytes in the file
    bytes: int
    pixels: tuple[int, int]  # width, height


@dataclass(slots=True)
class _Found:
    """What is learnt of a split while its tar files are read: columns, as there may be millions."""

    files: list[Path] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    keys: dict[str, None] = field(default_factory=dict)  # in order
    shard: array[int] = field(default_factory=lambda: array("L"))  # number of its file
    domain: array[int] = field(default_factory=lambda: array("L"))
    offset: array[int] = field(default_factory=lambda: array("Q"))
    bytes: array[int] = field(default_factory=lambda: array("Q"))
    pixels: set[tuple[int, int]] = field(default_factory=set)
    suffixes: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Take a sample of the last file."""
        self.keys[row.key] = None
        self.shard.append(len(self.files) - 1)
        self.domain.append(row.domain)
        self.offset.append(row.offset)
        self.bytes.append(row.bytes)
        self.pixels.add(row.pixels)
        self.suffixes.add(row.suffix)


def index(
    root: Path,
    *,
    domains: Sequence[str] | None = None,
    split: str | None = None,
    force: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Written:
    """Write ``manifest.json`` and an index for the tar files of ``root``, which stay as they are.

    ``domains`` names the numbers found in the ``.cls`` members; default: the manifest's that is
    there, else domain0, domain1, ... ``split`` holds all files; default: by their names. A sample
    whose image has no sound header is left out and listed. ``advance`` is told of each file done.

    Raises:
        UserError: ``root`` has no tar files or has a manifest and not ``force``; a file is damaged
            or compressed; a sample is incomplete, doubled, scattered, or holds anything else.
    """
    if split is not None:
        check_split(split)
    tars = list_tars(root)
    there = _there(root, force=force)
    with workplace(root) as partial:
        found: dict[str, _Found] = {}
        for path in tars:
            name = split or guess_split(path.name)
            _add_file(found.setdefault(name, _Found()), path, name)
            advance(1)
        for name, part in found.items():
            if not part.keys:
                raise UserError(f"{root} holds no readable sample of split '{name}'.")
        names = _domain_names(root, found, domains or there)
        done = {name: _index_split(partial, name, part, names) for name, part in found.items()}
        made = Manifest(names, _common_size(found), _common_format(found), done)
        (root / MANIFEST).unlink(missing_ok=True)  # it must not name what is about to change
        bad = tuple(item for part in found.values() for item in part.bad)
        manifest = publish(partial, root, made, bad=bad)
    return Written(manifest, tuple(found), bad)


def list_tars(root: Path) -> list[Path]:
    """Return the tar files of a folder by name.

    Raises:
        UserError: there are none, or there are compressed ones.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give a folder of WebDataset tar files.")
    files = sorted(path for path in root.iterdir() if path.is_file() and path.name[0] != ".")
    for path in files:
        if path.name.lower().endswith(_COMPRESSED):
            raise UserError(
                f"{path} is compressed, and its samples cannot be reached one by one; "
                "unpack it to a plain .tar file."
            )
    tars = [path for path in files if path.suffix == ".tar"]
    if not tars:
        raise UserError(f"{root} holds no .tar file; give a folder of WebDataset tar files.")
    return tars


def guess_split(file: str) -> str:
    """Return the split a tar file's name speaks of: a split's usual name, or what comes first.

    ``imagenet-train-000012.tar`` and ``train_12.tar`` are of "train", so is ``000012.tar``;
    ``scans-000012.tar`` is of "scans".
    """
    words = [word for word in re.split(r"[^a-z]+", file.removesuffix(".tar").lower()) if word]
    usual = [word for word in words if word in SPLIT_NAMES]
    return (usual or words or [TRAIN])[0]


def _samples(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield each sample's key and its members by suffix, as webdataset groups them."""
    from webdataset.tariterators import group_by_keys

    members = ({"fname": m.name, "data": m, "__url__": ""} for m in _members(path, tar))
    try:
        for sample in group_by_keys(members):
            del sample["__url__"]
            yield sample.pop("__key__"), sample
    except ValueError as error:  # a suffix twice in a sample; the message begins with the name
        name = str(error.args[0]).partition(":")[0]
        raise UserError(f"{path} holds {name} twice; write the shard anew.") from None


def _members(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    from webdataset.tariterators import base_plus_ext

    for member in tar:
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise UserError(f"{path} holds {member.name}, a link or other special file; mend it.")
        if not _safe(member.name):
            raise UserError(f"{path} holds a member of unsafe name, {member.name!r}; rename it.")
        key, suffix = base_plus_ext(member.name)
        if key is None or suffix.lower() not in SUFFIXES:
            raise UserError(
                f"{path} holds {member.name}; a sample has an image (jpg, jpeg, png or webp), "
                "a .cls and perhaps a .json, so leave other members out."
            )
        yield member


def _safe(name: str) -> bool:
    plain = name.isascii() and name.isprintable() and "\\" not in name
    return plain and not name.startswith("/") and ".." not in name.split("/")


def _add_file(part: _Found, path: Path, split: str) -> None:
    part.files.append(path)
    left_out: set[str] = set()
    try:
        with tarfile.open(path, mode="r:") as tar:
            for key, members in _samples(path, tar):
                if key in part.keys or key in left_out:
                    raise UserError(
                        f"{path} has key '{key}' again: a sample's members must lie next to each "
                        "other and keys must differ; write the shards anew."
                    )
                try:
                    part.add(_row(path, key, members, tar))
                except SampleError as error:
                    left_out.add(key)
                    part.bad.append(Bad(split, "", f"{path.name}/{key}", str(error)))
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path} is not a sound tar file ({error}); get it again.") from None


def _row(path: Path, key: str, members: dict[str, tarfile.TarInfo], tar: tarfile.TarFile) -> Row:
    suffixes = [suffix for suffix in IMAGE_SUFFIXES if suffix in members]
    if len(key) > _LONGEST_KEY:
        raise UserError(f"{path} has key '{key}', which is longer than {_LONGEST_KEY}; shorten it.")
    if len(suffixes) != 1:
        found = ", ".join(f"{key}.{suffix}" for suffix in sorted(members))
        raise UserError(f"Sample '{key}' of {path} has not one image but {found}; mend it.")
    if "cls" not in members:
        raise UserError(f"Sample '{key}' of {path} has no {key}.cls, so its domain is unknown.")
    image = members[suffixes[0]]
    domain = _domain(path, members["cls"], tar)
    if image.size > MAX_BYTES:
        raise SampleError(f"{image.size:,} bytes are more than {MAX_BYTES:,}")
    pixels = read_size(_bytes(tar, image))
    return Row(key, domain, suffixes[0], image.offset_data, image.size, pixels)


def _domain(path: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> int:
    data = _bytes(tar, member) if member.size <= 64 else b"..."
    text = data.decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 0xFFFF:
        raise UserError(
            f"{member.name} of {path} holds {text!r}; it must hold the domain's number, from 0."
        )
    return int(text)


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _there(root: Path, *, force: bool) -> tuple[str, ...] | None:
    """Return the domains of the manifest that is there, if any."""
    if not (root / MANIFEST).exists():
        return None
    if not force:
        raise UserError(f"{root} has a {MANIFEST} already; make it anew with --force.")
    return load_manifest(root).domains


def _domain_names(
    root: Path, found: dict[str, _Found], given: Sequence[str] | None
) -> tuple[str, ...]:
    count = max(max(part.domain) for part in found.values()) + 1
    names = tuple(given) if given else tuple(f"domain{number}" for number in range(count))
    if count > len(names):
        raise UserError(
            f"The .cls members of {root} count {count} domains, but --domains names "
            f"{', '.join(names)}; name them all, in their numbers' order."
        )
    if len(names) < 2:
        raise UserError(f"{root} holds fewer than two domains; translation needs two or more.")
    return names


def _index_split(folder: Path, split: str, found: _Found, domains: tuple[str, ...]) -> Split:
    shards: list[Shard] = []
    blocks = []
    held = Counter(zip(found.shard, found.domain, strict=True))
    for number, path in enumerate(found.files):
        counts = {name: held[number, place] for place, name in enumerate(domains)}
        file = digests_of_file(path)
        shards.append(Shard(path.name, sum(counts.values()), file.bytes, file.sha256(), counts))
        blocks.append(file.digests())
    table = Index(
        np.array(found.shard, np.uint32),
        np.array(found.domain, np.uint16),
        np.array(found.offset, np.uint64),
        np.array(found.bytes, np.uint32),
        np.array([key.encode("ascii") for key in found.keys]),
    )
    return save_split_index(folder, split, table, shards, blocks)


def _common_size(found: dict[str, _Found]) -> int | None:
    """Return the size that all images have and is square, else None."""
    sizes = {size for part in found.values() for size in part.pixels}
    width, height = next(iter(sizes))
    return width if len(sizes) == 1 and width == height else None


def _common_format(found: dict[str, _Found]) -> str:
    suffixes = {suffix for part in found.values() for suffix in part.suffixes}
    formats = {"jpg" if suffix == "jpeg" else suffix for suffix in suffixes}
    return formats.pop() if len(formats) == 1 else "mixed"
