"""Scatter pictures of points in groups, readable on a phone and on a projector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srae_dist.core.randomness import generator
from srae_dist.evaluation.palette import style_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 6.0  # inches of a panel
DPI = 150
INK, NAMELESS = "#1e1e1e", "#dcdcdc"
_WITH_COUNTS = 4  # groups at most whose legend tells their counts


@dataclass(frozen=True, slots=True)
class Panel:
    """Points in groups, under a coloured title."""

    title: str
    colour: str
    points: NDArray[np.float32]  # N 2
    groups: NDArray[np.str_]  # N; "" is drawn faint, below the others
    order: Sequence[str]  # the groups, as the legend lists them


def draw(panels: Sequence[Panel]) -> Image.Image:
    """Draw panels of the same groups side by side, above one legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels[0].order) // _columns(panels))
    foot = rows * _type_size(panels[0]) * 1.6 / 72 + 0.25  # inches
    figure = Figure(figsize=(SIDE * len(panels), SIDE + foot), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    height = SIDE + foot
    for place, panel in enumerate(panels):
        left = (place + 0.03) / len(panels)
        axes = figure.add_axes((left, (foot + 0.1) / height, 0.94 / len(panels), 5.25 / height))
        _scatter(axes, panel)
    _legend(figure, panels)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _scatter(axes: Any, panel: Panel) -> None:
    axes.set_title(
        panel.title, fontsize=22, fontweight="bold", color=panel.colour, pad=10, loc="left"
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=panel.colour, linewidth=2)
    size = float(np.clip(24_000 / max(1, len(panel.points)), 7, 60))
    nameless = panel.points[panel.groups == ""]
    axes.scatter(*nameless.T, s=size, color=NAMELESS, linewidths=0)
    # in a drawn order: a group painted after the others would seem to be the larger one
    order = generator(0, "scatter").permutation(np.flatnonzero(panel.groups != ""))
    styles = {name: style_of(number) for number, name in enumerate(panel.order)}
    colours = np.array([styles[name][0] for name in panel.groups[order]])
    markers = np.array([styles[name][1] for name in panel.groups[order]])
    for marker in dict.fromkeys(markers.tolist()):
        mine = markers == marker
        axes.scatter(
            *panel.points[order[mine]].T,
            s=size,
            c=colours[mine],
            marker=marker,
            alpha=0.8,
            linewidths=0.3,
            edgecolors="white",
        )
    axes.margins(0.04)
    axes.set_aspect("equal", adjustable="datalim")


def _type_size(panel: Panel) -> int:
    return 19 if len(panel.order) <= _WITH_COUNTS else 16


def _columns(panels: Sequence[Panel]) -> int:
    """Return how many names a line of the legend holds."""
    longest = max(len(_entry(panels[0], name)) for name in panels[0].order)
    em = _type_size(panels[0]) / 72  # inches
    return max(1, int(SIDE * len(panels) / (2.2 * em + 0.6 * em * longest)))


def _entry(panel: Panel, name: str) -> str:
    if len(panel.order) > _WITH_COUNTS:
        return name
    return f"{name} ({int((panel.groups == name).sum()):,})"


def _legend(figure: Figure, panels: Sequence[Panel]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for number in range(len(panels[0].order)):
        colour, marker = style_of(number)
        handles.append(Line2D([], [], linestyle="", marker=marker, markersize=13, color=colour))
    legend = figure.legend(
        handles,
        ["-"] * len(handles),
        loc="lower center",
        ncols=min(len(handles), _columns(panels)),
        frameon=False,
        fontsize=_type_size(panels[0]),
        handlelength=1.0,
        handletextpad=0.2,
        columnspacing=1.0,
        labelcolor=INK,
    )
    for text, name in zip(legend.get_texts(), panels[0].order, strict=True):
        text.set_parse_math(False)  # names are anything: "$" begins no formula, "_" hides no line
        text.set_text(_entry(panels[0], name))
