"""What a user types for `srae-dist shard`, as values; mistakes become sentences."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from srae_dist.core.errors import UserError
from srae_dist.core.machine import available_cores
from srae_dist.data.workplace import Part

WORTH_A_PROCESS = 1000  # images

_MOST_PARTS = 100_000


def names(text: str | None) -> tuple[str, ...]:
    """Parse ``a,b,c``."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def folders(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Parse every ``NAME=DIR``."""
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, sign, folder = text.partition("=")
        if not (name and sign and folder):
            raise UserError(f"--domain '{text}' is not NAME=DIR, as in --domain human=photos.")
        found.setdefault(name, []).append(Path(folder).expanduser())
    return found


def limits(texts: Sequence[str]) -> dict[str, int]:
    """Parse every ``NAME=N``."""
    found: dict[str, int] = {}
    for text in texts:
        match = re.fullmatch(r"([^=]+)=([0-9]{1,18})", text)
        if match is None or match[1] in found:
            raise UserError(
                f"--limit '{text}' is not NAME=N, once a domain, as in --limit human=22000."
            )
        found[match[1]] = int(match[2])
    return found


def check_out(out: Path, domains: Mapping[str, Sequence[Path]], root: Path | None) -> None:
    """Refuse shards among the images they are made of, which the next run would list again.

    Raises:
        UserError: ``out`` lies in a folder of images.
    """
    place = out.resolve()
    for folder in (*(path for paths in domains.values() for path in paths), *filter(None, (root,))):
        if place.is_relative_to(folder.resolve()):
            raise UserError(
                f"--out {out} lies in {folder}, among the images; choose another --out."
            )


def pattern(text: str | None) -> re.Pattern[str] | None:
    """Parse a regular expression that finds labels: one group, or named ones."""
    if text is None:
        return None
    try:
        with warnings.catch_warnings():  # of patterns that Python may read otherwise one day
            warnings.simplefilter("ignore", FutureWarning)
            made = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"--label-regex '{text}' is no regular expression: {error}; mend it."
        ) from None
    if made.groups == 0:
        raise UserError(f"--label-regex '{text}' has no group; write the label's part in ( ).")
    if made.groups > max(1, len(made.groupindex)):
        raise UserError(
            f"--label-regex '{text}' has {made.groups} groups; "
            "name them as in (?P<digit>...), or write (?:...)."
        )
    return made


def part(text: str | None, environment: Mapping[str, str]) -> Part:
    """Parse ``i/n``, or take it from the launcher, whose ranks are parts."""
    world = _number(environment, "WORLD_SIZE")
    if text is None:
        if world <= 1:
            return Part()
        return Part(_number(environment, "RANK") + 1, world, _launch(environment))
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MOST_PARTS:
        raise UserError(
            f"--part '{text}' is not I/N, the I-th of N parts, as in --part 1/4 up to --part 4/4."
        )
    if world > 1:
        raise UserError(
            f"--part {text} says which part this is, and so does the launcher, which started "
            f"{world} processes; leave one of them out."
        )
    return Part(int(match[1]), int(match[2]))


def process_count(given: int | None, environment: Mapping[str, str], *, images: int) -> int:
    """Return how many processes write: as given, or one for each core of this part's share.

    A process takes a while to begin, so that few images need few.
    """
    share = available_cores() // max(1, _number(environment, "LOCAL_WORLD_SIZE"))
    return given or max(1, min(share, images // WORTH_A_PROCESS))


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or "0"
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise UserError(f"The environment variable {name} is '{text}', no number; unset it.")
    return int(text)


def _launch(environment: Mapping[str, str]) -> str:
    """Name the launch, equally in all its processes."""
    variables = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    return "/".join(environment.get(name, "") for name in variables)
