"""What the discriminators scored while they were trained: shown beside fresh probes, never instead.

A discriminator that the encoder has learnt to fool sits at chance whatever the code still holds.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

from srae_dist.core.json_file import parse_json

MEASURES = ("q_c_accuracy", "q_d_accuracy")
LINES = 20  # of the log, whose mean is taken


def read_in_training(log: Path, *, step: int) -> dict[str, float]:
    """Return the discriminators' accuracy on training batches shortly before a step.

    Args:
        log: a run's ``log.jsonl``.
        step: of the checkpoint; later lines are not of this model.

    Returns:
        Means over the last 20 lines by the log's own names; nothing where there is no log.
    """
    if not log.is_file():
        return {}
    lines = [
        line for line in map(_parse, log.read_bytes().splitlines()) if 0 < line["step"] <= step
    ]
    found = {
        name: [line[name] for line in lines[-LINES:] if line.get(name) is not None]
        for name in MEASURES
    }
    return {name: fmean(values) for name, values in found.items() if values}


def _parse(line: bytes) -> dict[str, float]:
    """Return a line's numbers; step 0 of a torn one."""
    try:
        value = parse_json(line)
        found = {k: v for k, v in value.items() if type(v) in (int, float) and math.isfinite(v)}
        return found if "step" in found else {"step": 0}
    except (ValueError, AttributeError, OverflowError):
        return {"step": 0}
