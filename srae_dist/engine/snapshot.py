"""What a checkpoint of a run holds, and how it is put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from srae_dist.core.errors import UserError
from srae_dist.engine.step import Stepper
from srae_dist.runtime import checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator

MODEL, OPTIMIZER = "model.safetensors", "optimizer.safetensors"
_FROZEN = "perceptual."  # VGG is the recipe's, not the run's


def tensors_of(stepper: Stepper, mean_codes: Tensor) -> dict[str, dict[str, Tensor]]:
    """All tensors of a run: weights, optimizer state, averaged weights with the mean codes."""
    ema = dict(stepper.ema.module.state_dict())
    return {
        MODEL: _weights(stepper.objective),
        OPTIMIZER: _optimizer_state(stepper),
        checkpoint.EMA: {**ema, checkpoint.MEAN_CODES: mean_codes},
    }


def full_size(stepper: Stepper) -> int:
    """Bytes of a checkpoint's tensors, also before the first step: Adam will keep two moments."""
    ema = stepper.ema.module.state_dict().values()
    moments = 2 * _bytes_of(_named_parameters(stepper).values())
    return moments + _bytes_of(_weights(stepper.objective).values()) + _bytes_of(ema)


def restore(stepper: Stepper, folder: Path) -> None:
    """Put a checkpoint's tensors back into a stepper built from the same recipe.

    Raises:
        UserError: the tensors do not fit the recipe's networks.
    """
    weights, _ = checkpoint.read_tensors(folder / MODEL)
    averaged, _ = checkpoint.read_tensors(folder / checkpoint.EMA)
    averaged.pop(checkpoint.MEAN_CODES, None)
    load_exactly(_weights(stepper.objective), weights, folder / MODEL)
    load_exactly(stepper.ema.module.state_dict(), averaged, folder / checkpoint.EMA)
    state, _ = checkpoint.read_tensors(folder / OPTIMIZER)
    _restore_optimizer(stepper, state, folder / OPTIMIZER)


def scaler_state(accelerator: Accelerator) -> dict[str, Any] | None:
    """The fp16 loss scaler's few numbers, or None."""
    return dict(accelerator.scaler.state_dict()) if accelerator.scaler is not None else None


@torch.no_grad()
def load_exactly(into: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors by name; every name and shape must agree.

    Raises:
        UserError: a tensor is missing, unknown or of another shape.
    """
    for name in (*into, *tensors):
        if name not in tensors or name not in into:
            what = "lacks" if name not in tensors else "has an unknown tensor"
            raise UserError(f"{path} {what} '{name}'; it belongs to another recipe.")
        if into[name].shape != tensors[name].shape:
            raise UserError(
                f"{path}: '{name}' has shape {tuple(tensors[name].shape)}, this recipe's network "
                f"has {tuple(into[name].shape)}; it belongs to another recipe."
            )
    for name, target in into.items():
        target.copy_(tensors[name])


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _weights(objective: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in objective.state_dict().items() if not k.startswith(_FROZEN)}


def _named_parameters(stepper: Stepper) -> dict[str, nn.Parameter]:
    return {name: p for name, p in stepper.objective.named_parameters() if p.requires_grad}


def _optimizer_state(stepper: Stepper) -> dict[str, Tensor]:
    state = stepper.optimizer.optimizer.state
    return {
        f"{name}/{field}": value
        for name, parameter in _named_parameters(stepper).items()
        for field, value in state.get(parameter, {}).items()
    }


def _restore_optimizer(stepper: Stepper, tensors: dict[str, Tensor], path: Path) -> None:
    parameters = _named_parameters(stepper)
    state = stepper.optimizer.optimizer.state
    for key, value in tensors.items():
        name, _, field = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            raise UserError(f"{path}: '{key}' does not fit this recipe's networks.")
        # cloned, because a file's tensors may share one buffer
        state[parameter][field] = value.to(parameter.device).clone(
            memory_format=torch.preserve_format
        )
        if value.ndim == 4:  # moments live in the parameter's memory format
            state[parameter][field] = torch.empty_like(parameter).copy_(value)
