"""Who learns from what: the routing table of the method, as data.

Every term reaches exactly the networks of its row. Two mechanisms suffice, so the whole objective
is one forward and one backward:

* which *view* of the codes a term sees: FULL (gradient flows through streams and trunk), STREAM
  (the streams run again on detached features: the trunk gets nothing), or DETACHED;
* whether the discriminator it uses is live, or called with detached parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

NETWORKS = ("trunk", "content", "domain", "decoder", "q_c", "q_d", "critic")
DISCRIMINATORS = frozenset({"q_c", "q_d", "critic"})
OF_TRANSLATIONS = frozenset({"realism", "content_cycle", "unlikeness"})
"""The terms that are about translations."""


class View(Enum):
    """How much of the encoder a term's gradient may reach."""

    FULL = "full"
    STREAM = "stream"
    DETACHED = "detached"


def routing_table(
    *,
    discriminators: int,
    route: str,
    pixel: bool,
    priors: bool,
    alignment: bool = False,
    critic: str | None = None,
    cycle: bool = False,
    likeness: bool = False,
) -> Mapping[str, frozenset[str]]:
    """Return term -> networks that learn from it, in the order the terms are added up.

    Args:
        discriminators: 1 (q_c) or 2 (q_c and q_d), the paper's two variants.
        route: "stream" (the paper: confusion and domain terms teach their stream only) or
            "encoder" (they teach the trunk too).
        pixel: whether the optional pixel term is on.
        priors: whether the optional KL terms are on.
        alignment: whether the optional energy distance is on.
        critic: who learns from an image critic's opinion of translations, "decoder" or
            "everyone"; None: there is no critic.
        cycle: whether, with a critic, the same learn to keep a translation's content, too.
        likeness: whether, with a critic, the same learn to keep where things are in the source.
    """
    everyone = frozenset({"trunk", "content", "domain", "decoder"})
    trunk = frozenset({"trunk"}) if route == "encoder" else frozenset[str]()
    table = {"reconstruction": everyone}
    if pixel:
        table["pixel"] = everyone
    table["discriminator_c"] = frozenset({"q_c"})
    table["confusion"] = frozenset({"content"}) | trunk
    if alignment:
        table["alignment"] = frozenset({"content"}) | trunk
    if discriminators == 2:
        table["discriminator_d"] = frozenset({"q_d"})
        table["domain"] = frozenset({"domain"}) | trunk
    if priors:
        table["content_prior"] = frozenset({"trunk", "content"})
        table["domain_prior"] = frozenset({"trunk", "domain"})
    if critic is not None:
        taught = everyone if critic == "everyone" else frozenset({"decoder"})
        table["realism"] = taught
        if cycle:
            table["content_cycle"] = taught
        if likeness:
            table["unlikeness"] = taught
        table["critic"] = frozenset({"critic"})
        table["critic_slope"] = frozenset({"critic"})
    return table


def view_for(learners: frozenset[str]) -> View:
    """Return the widest view of the codes that teaches nobody else."""
    if "trunk" in learners:
        return View.FULL
    return View.STREAM if learners & {"content", "domain"} else View.DETACHED


def player_of(parameter: str) -> str:
    """Return which player (gradient clipping, learning rate) owns an objective parameter."""
    if parameter.startswith("autoencoder.eyes."):
        return "tuned"  # it brings what it knows along, and learns more slowly
    head = parameter.split(".", 1)[0]
    return head if head in DISCRIMINATORS else "autoencoder"


def frozen(network: nn.Module, *seen: Tensor | Sequence[Tensor]) -> Any:
    """Call a network so that the gradient reaches what it sees and not its parameters."""
    detached = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return functional_call(network, detached, seen)
