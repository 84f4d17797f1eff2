"""Where a training step's time goes: each part alone, forward and backward, with its FLOPs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from srae_dist.engine.players import clip_players
from srae_dist.engine.step import Stepper
from srae_dist.model.ema import decay_at
from srae_dist.objective import terms
from srae_dist.objective.objective import Sampled, Scene

NAMES = (
    *("pixels to floats", "encoder", "decoder", "VGG on x", "VGG on x_hat", "discriminators"),
    *("translations and critic", "optimizer and EMA"),
)
CRITIC = NAMES[6]  # where there is one

Part = Callable[[], None]
Inputs = tuple[Tensor, Tensor, Tensor]  # images N H W C uint8, domains, slots


def parts(stepper: Stepper, inputs: Inputs, *, bf16: bool) -> dict[str, Part]:
    """Return what a step consists of, each piece to be run by itself, in the step's order.

    Their sum is a little more than a step: every backward pass begins and ends by itself.
    """
    objective, perceptual = stepper.objective, stepper.objective.perceptual
    images, domains, slots = inputs
    device = images.device.type

    def autocast() -> torch.autocast:
        return torch.autocast(device, torch.bfloat16, enabled=bf16)

    with torch.no_grad(), autocast():
        x = objective.prepare(images, slots)
        views, codes, x_hat = objective.views(x, domains, slots)
        z = next(iter(views.values()))
        z = Sampled(z.content.detach(), z.domain.detach(), z.mean.detach())
        target = perceptual(x[objective.decoded(slots)])
    x_hat = x_hat.detach().requires_grad_()
    scene = Scene(x, x_hat, codes, domains, objective.decoded(slots), target)

    def pixels() -> None:
        objective.prepare(images, slots)

    def encoder() -> None:
        objective.zero_grad()
        with autocast():
            h = objective.autoencoder.features(x)
            seen = objective.autoencoder.seen_by_domain(x, h)
            found = objective.autoencoder.content(h), objective.autoencoder.domain(seen)
            total = torch.stack([c.mean.float().sum() + c.sigma.float().sum() for c in found]).sum()
        _backward(total)

    def decoder() -> None:
        objective.zero_grad()
        with autocast():
            given = [code.detach().requires_grad_() for code in (z.content, z.domain)]
            total = objective.autoencoder.decode(*given).float().sum()
        _backward(total)

    def vgg_of_x() -> None:
        with torch.no_grad(), autocast():
            perceptual(x)

    def vgg_of_x_hat() -> None:
        x_hat.grad = None
        with autocast():
            loss = terms.perceptual(perceptual(x_hat), target, objective.layer_weights)
        _backward(loss)

    def discriminators() -> None:
        objective.zero_grad()
        with autocast():
            losses = [
                terms.discriminator(q(code), domains)
                for _, q, code in objective.discriminator_inputs(z)
            ]
            seen = Sampled(z.content.detach().requires_grad_(), z.domain, z.mean)
            losses.append(objective.term("confusion", scene, seen))
        _backward(torch.stack(losses).sum())

    def critic() -> None:
        assert objective.critic is not None
        objective.zero_grad()
        with autocast():
            judged, _ = objective.judged(objective.critic, scene, slots, z)
        _backward(torch.stack(list(judged.values())).sum())

    def optimizer() -> None:
        clip_players(stepper.players, stepper.train.clip)
        stepper.optimizer.step()
        stepper.ema.update(objective.autoencoder, decay_at(10, stepper.train.ema))

    works = (pixels, encoder, decoder, vgg_of_x, vgg_of_x_hat, discriminators, critic, optimizer)
    made = dict(zip(NAMES, works, strict=True))
    if objective.critic is None:
        del made[CRITIC]
    return made


def flops(work: Part) -> int:
    """Count the floating-point operations of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
