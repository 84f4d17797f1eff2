"""The speed of a training step, measured on one micro-batch without training."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Iterator

import torch

from srae_dist.objective.objective import Objective

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def step_seconds(
    objective: Objective, *, micro_batch: int, image_size: int, precision: str
) -> float:
    """Seconds of one forward and backward pass; leaves no gradient behind, and buffers as they were
    (the memory of codes would remember blank images).
    """
    device = next(objective.parameters()).device
    shape = (micro_batch, image_size, image_size, 3)
    images = torch.zeros(shape, dtype=torch.uint8, device=device)
    numbers = torch.zeros(micro_batch, dtype=torch.int64, device=device)
    weights = torch.ones(len(objective.term_names), device=device)
    with _buffers_kept(objective):
        begun = time.perf_counter()
        half = _AUTOCAST.get(precision)
        with torch.autocast(device.type, half, enabled=half is not None):
            total, _ = objective(images, numbers, numbers, weights)
        total.backward()
        objective.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun


def images_per_second(
    objective: Objective, *, micro_batch: int, image_size: int, precision: str, seconds: float
) -> float:
    """Images per second of passes during about ``seconds``, after one that is not counted."""
    step = functools.partial(
        step_seconds,
        objective,
        micro_batch=micro_batch,
        image_size=image_size,
        precision=precision,
    )
    step()
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        taken.append(step())
    return micro_batch / statistics.median(taken)


@contextlib.contextmanager
def _buffers_kept(objective: Objective) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
