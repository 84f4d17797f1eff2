"""The speed of a training step, measured on one micro-batch without training."""

from __future__ import annotations

import statistics
import time

import torch

from srae_dist.objective.objective import Objective


def step_seconds(objective: Objective, *, micro_batch: int, image_size: int, bf16: bool) -> float:
    """Seconds of one forward and backward pass; leaves no gradient behind."""
    device = next(objective.parameters()).device
    shape = (micro_batch, image_size, image_size, 3)
    images = torch.zeros(shape, dtype=torch.uint8, device=device)
    numbers = torch.zeros(micro_batch, dtype=torch.int64, device=device)
    weights = torch.ones(len(objective.term_names), device=device)
    begun = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        total, _ = objective(images, numbers, numbers, weights)
    total.backward()
    objective.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def images_per_second(
    objective: Objective, *, micro_batch: int, image_size: int, bf16: bool, seconds: float
) -> float:
    """Images per second of passes during about ``seconds``, after one that is not counted."""
    step_seconds(objective, micro_batch=micro_batch, image_size=image_size, bf16=bf16)
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        taken.append(
            step_seconds(objective, micro_batch=micro_batch, image_size=image_size, bf16=bf16)
        )
    return micro_batch / statistics.median(taken)
