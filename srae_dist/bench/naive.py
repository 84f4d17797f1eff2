"""The training step as it is usually written: the yardstick of ``bench step``.

Same networks, same losses and same noise as ours; fp32 and contiguous, gradients kept through
VGG-16 and for its weights, on both images; the encoder run again for the discriminators; images
enlarged before they are convolved; two optimizers that loop over the parameters. It is complete: it
trains.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.engine.players import players
from srae_dist.model.blocks import DoublingConv2d
from srae_dist.objective import terms
from srae_dist.objective.objective import Objective, Sampled, Scene
from srae_dist.objective.routing import DISCRIMINATORS, OF_TRANSLATIONS, view_for
from srae_dist.recipe.schema import Train


def as_torch_comes() -> AbstractContextManager[None]:
    """A GPU's convolutions as nobody touched them: fp32 may round to TF32, which ours may not."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=False, allow_tf32=True)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


class _EnlargedConv2d(DoublingConv2d):
    """What it is, done step by step."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv2d(x, self.weight, self.bias, padding=1)


class NaiveStep:
    """A step of its own copy of the networks."""

    def __init__(self, objective: Objective, train: Train, *, weights: Sequence[float]) -> None:
        """``weights``: of each of the objective's terms."""
        self.objective = copy.deepcopy(objective).to(memory_format=torch.contiguous_format)
        self.objective.perceptual.requires_grad_(True)
        for module in self.objective.modules():
            if isinstance(module, DoublingConv2d):
                module.__class__ = _EnlargedConv2d
        groups = players(self.objective)
        discriminators = [p for name in ("q_c", "q_d") for p in groups.get(name, [])]
        loop = {"foreach": False, "fused": False}
        self.first = torch.optim.Adam(groups["autoencoder"], train.lr, train.betas, **loop)
        self.second = torch.optim.Adam(
            discriminators,
            train.discriminator_lr,
            train.discriminator_betas,
            **loop,
        )
        if objective.critic is not None:
            self.second.add_param_group({"params": groups["critic"], "lr": train.critic_lr})
        self.weights = dict(zip(self.objective.term_names, weights, strict=True))

    def take(self, images: Tensor, domains: Tensor, slots: Tensor) -> dict[str, Tensor]:
        """Take one step on uint8 images N H W C; return the losses."""
        with as_torch_comes():
            return self._take(images, domains, slots)

    def _take(self, images: Tensor, domains: Tensor, slots: Tensor) -> dict[str, Tensor]:
        objective = self.objective
        x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()
        x = objective.augment(x, slots)
        views, codes, x_hat = objective.views(x, domains, slots)
        chosen = objective.decoded(slots)
        target = objective.perceptual(x[chosen])
        scene = Scene(x, x_hat, codes, domains, chosen, [h.detach() for h in target])
        losses = {"reconstruction": self._perceptual(x_hat, target)}
        for name, learners in objective.table.items():
            about_translations = name in OF_TRANSLATIONS or learners <= DISCRIMINATORS
            if name != "reconstruction" and not about_translations:
                view = views[view_for(learners)]
                losses[name] = objective.term(name, scene, view)
        if objective.critic is not None:
            z = views[view_for(objective.table["realism"])]
            judged, _ = objective.judged(objective.critic, scene, slots, z)
            losses |= {name: judged[name] for name in OF_TRANSLATIONS & judged.keys()}
        self._update(self.first, losses)
        with torch.no_grad():
            codes = objective.autoencoder.encode(x)
            z = objective.sample(codes, objective.noise(codes, slots))
        learnt = self._discriminate(z, domains)
        if objective.critic is not None:
            judged, _ = objective.judged(objective.critic, scene, slots, z)
            learnt |= {name: judged[name] for name in ("critic", "critic_slope")}
        self._update(self.second, learnt)
        return {name: loss.detach() for name, loss in (losses | learnt).items()}

    def _perceptual(self, x_hat: Tensor, target: Sequence[Tensor]) -> Tensor:
        features = zip(self.objective.perceptual(x_hat), target, strict=True)
        losses = torch.stack([F.mse_loss(found, given) for found, given in features])
        return losses @ losses.new_tensor(self.objective.layer_weights)

    def _discriminate(self, z: Sampled, domains: Tensor) -> dict[str, Tensor]:
        return {
            f"discriminator_{name}": terms.discriminator(q(code), domains)
            for name, q, code in self.objective.discriminator_inputs(z)
        }

    def _update(self, optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
        self.objective.zero_grad()
        torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
