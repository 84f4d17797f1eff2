"""The cost of a training step, measured on one micro-batch without training."""

from __future__ import annotations

import time

import torch

from srae_dist.objective.objective import Objective


def step_seconds(objective: Objective, *, micro_batch: int, image_size: int, bf16: bool) -> float:
    """Seconds of one forward and backward pass on the CPU; leaves no gradient behind."""
    images = torch.zeros(micro_batch, image_size, image_size, 3, dtype=torch.uint8)
    numbers = torch.zeros(micro_batch, dtype=torch.int64)
    weights = torch.ones(len(objective.term_names))
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        total, _ = objective(images, numbers, numbers, weights)
    total.backward()
    objective.zero_grad()
    return time.perf_counter() - begun
