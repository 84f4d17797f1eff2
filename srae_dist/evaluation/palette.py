"""Colours with a meaning, the same in every figure and in the drawings of docs/method.md.

All can be told apart by the colour-blind, and carry white text or stand on white.
"""

from __future__ import annotations

CONTENT = "#00795c"  # content code z_c: green
DOMAIN = "#a8327e"  # domain code z_d: purple
BOTH = "#37474f"  # the two together: slate

# domains, the paper's blue and orange first (M. Petroff 2021, "Accessible color sequences")
_SEQUENCE = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P")  # matplotlib's; another for every further round


def style_of(number: int) -> tuple[str, str]:
    """Return colour and marker of a domain or label."""
    turn, place = divmod(number, len(_SEQUENCE))
    return _SEQUENCE[place], _MARKERS[turn % len(_MARKERS)]
