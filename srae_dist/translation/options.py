"""What the command line asks of a translation; light, since ``--help`` needs it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from srae_dist.core.errors import UserError
from srae_dist.core.urls import is_url


class OutKind(StrEnum):
    """What is written."""

    FOLDER = "folder"
    SHARDS = "shards"


class Format(StrEnum):
    """How images are stored."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"


class Precision(StrEnum):
    """What the model computes in."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    source: str  # INPUT: an image, a folder, or the URL of shards
    to: str
    out: Path
    from_: str | None
    reference: Path | None
    references: str | None  # as INPUT
    split: str | None
    out_kind: str | None
    format: str
    quality: int
    size: int | None
    batch: int
    precision: str
    sample: bool
    seed: int
    device: str | None
    allow_bad: int
    force: bool
    keep_style: bool = False
    cache_dir: Path | None = None  # for what comes from a URL


def check_places(options: Options) -> None:
    """Refuse what would read its own output, and options that contradict each other.

    Raises:
        UserError: OUT and an input lie in one another, or two sources of domain codes are given.
    """
    sources = {
        "--reference": options.reference is not None,
        "--references": options.references is not None,
        "--keep-style": options.keep_style,
    }
    given = [name for name, there in sources.items() if there]
    if len(given) > 1:
        raise UserError(f"{given[0]} and {given[1]} exclude each other; leave one out.")
    if options.reference is not None and options.reference.is_dir():
        raise UserError(
            f"--reference {options.reference} is a folder; give an image, or draw one of the "
            f"folder's for each with --references {options.reference}."
        )
    out = options.out.resolve()
    for name, place in (("INPUT", options.source), ("--references", options.references)):
        if place is None or is_url(place):
            continue
        path = Path(place)
        if path.is_file():
            _check_file(name, path, options)
            continue
        if not path.is_dir():
            raise UserError(
                f"{name} {place} does not exist; give a folder of images, or of shards."
            )
        path = path.resolve()
        if out.is_relative_to(path) or path.is_relative_to(out):
            raise UserError(
                f"--out {options.out} and {name} {place} lie in one another; choose another --out."
            )


def _check_file(name: str, path: Path, options: Options) -> None:
    from srae_dist.data.images import SUFFIXES

    if name != "INPUT":
        raise UserError(
            f"{name} {path} is a file, but must be a folder; lend the code of one image to all "
            "with --reference."
        )
    if path.suffix.lower().removeprefix(".") not in SUFFIXES:
        raise UserError(
            f"INPUT {path} is no jpg, png or webp file; give an image, a folder of images, or one "
            "of shards."
        )
    if options.out.resolve() == path.resolve().parent:
        raise UserError(f"--out {options.out} is where INPUT {path} lies; choose another --out.")
