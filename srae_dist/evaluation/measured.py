"""Comparisons of sets of images under their full names, and the tables that are made of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srae_dist.evaluation.features import Features
from srae_dist.evaluation.section import Table
from srae_dist.evaluation.statistics import FID_NEEDS, SUBSETS

FEW = f"fewer than {FID_NEEDS:,} images: FID is biased upwards; trust KID"
SAME = "reconstructions and real images show the same originals: FID reads low"


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison with a domain's real images, under its full name."""

    name: str
    extractor: str
    images: str  # "translated", "reconstructed", "source", "train"
    source: str
    target: str
    count: int
    real: int
    kid: float
    kid_std: float
    subset_size: int
    fid: float
    remarks: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": f"kid_{self.name}",
            "extractor": self.extractor,
            "images": self.images,
            "from": self.source,
            "to": self.target,
            "count": self.count,
            "real": self.real,
            "kid": {"mean": self.kid, "std": self.kid_std, "subset_size": self.subset_size},
            "fid": {"name": f"fid_{self.name}", "value": self.fid, "remarks": list(self.remarks)},
        }


def _find(measured: Sequence[Measured], kind: str, source: str, target: str) -> Measured:
    return next(m for m in measured if (m.images, m.source, m.target) == (kind, source, target))


def headlines(domains: Sequence[str], measured: Sequence[Measured], key: str) -> dict[str, Any]:
    """Return the translations' numbers by ordered pair, ``{"human_to_anime": number}``."""
    kids, fids, ratios = {}, {}, {}
    for source, target in itertools.permutations(domains, 2):
        pair = f"{source}_to_{target}"
        translated = _find(measured, "translated", source, target)
        floor = _find(measured, "reconstructed", target, target)
        kids[pair], fids[pair] = translated.kid, translated.fid
        ratios[pair] = translated.kid / floor.kid if floor.kid > 0.0 else None
    return {f"kid_{key}": kids, f"fid_{key}": fids, f"kid_{key}_over_reconstruction": ratios}


def pair_table(domains: Sequence[str], measured: Sequence[Measured], extractor: Features) -> Table:
    """Return a row for every ordered pair, each number between its best and its worst."""
    rows = []
    for source, target in itertools.permutations(domains, 2):
        translated, unchanged = (
            _find(measured, kind, source, target) for kind in ("translated", "source")
        )
        floor, best = (_find(measured, kind, target, target) for kind in ("reconstructed", "train"))
        rows.append(
            [
                f"{source} → {target}",
                *(f"{m.kid:.4g} ± {m.kid_std:.2g}" for m in (translated, best, floor, unchanged)),
                f"{translated.kid / floor.kid:.1f}" if floor.kid > 0.0 else "–",
                f"{translated.fid:.4g}" + " (few images)" * (FEW in translated.remarks),
            ]
        )
    columns = ["", "KID", "training images", "reconstructions", "source unchanged"]
    title = f"KID on {extractor.name}, mean ± std over {SUBSETS} subsets"
    return Table(title, [*columns, "KID / reconstructions'", "FID"], rows)


def name_table(measured: Sequence[Measured], extractor: Features) -> Table:
    """Return a row for every comparison, under its full name."""
    rows = [
        [
            f"kid_{m.name}",
            f"{m.kid:.4g} ± {m.kid_std:.2g}",
            f"{m.subset_size:,}",
            f"{m.fid:.4g}",
            "; ".join(m.remarks),
        ]
        for m in measured
    ]
    title = f"The same under full names, {extractor.name} (FID: fid_ in place of kid_)"
    return Table(title, ["name", "KID", "images a subset", "FID", "on FID"], rows)
