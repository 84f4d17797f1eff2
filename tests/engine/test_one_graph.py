"""To the compiler the objective is one graph: it breaks nowhere and is not made anew each step."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from srae_dist.model.build import build_autoencoder
from srae_dist.objective.build import build_objective
from srae_dist.objective.objective import Objective
from srae_dist.recipe import schema

IMAGES, SIZE = 8, 32
PAPER = schema.Objective()
BOTH = schema.Objective(discriminators=2, content_prior=0.1, domain_prior=0.1)
PLUS = schema.Objective(
    route="encoder",
    confusion="uniform",
    q_sees="both",
    q_memory=12,
    alignment_weight=1.0,
    domain_code="pooled",
    own_numbers=1,
    decoded_share=0.5,
    critic_weight=1.0,
    content_cycle_weight=1.0,
    likeness_weight=1.0,
)
OPTIONS = {
    "dense_discriminators": 2,
    "content_levels": 3,
    "decoder": "modulate",
    "domain_sees": "tuned",
}


def build(section: schema.Objective, **model: object) -> Objective:
    widths = {
        "width": 8,
        "max_width": 16,
        "discriminator_width": 8,
        "critic_width": 8,
        "content_channels": 4,
    }
    networks = schema.Model.model_validate(widths | model)
    return build_objective(
        build_autoencoder(networks, image_size=SIZE, seed=0),
        model=networks,
        objective=section,
        perceptual=schema.Perceptual(weights="random", layers=("relu1_2",)),
        num_domains=2,
        data=schema.Data(crop=0.2, light=0.2),
        seed=0,
    )


@pytest.mark.parametrize(
    ("section", "model"), [(PAPER, {}), (BOTH, {}), (PLUS, OPTIONS)], ids=["paper", "both", "plus"]
)
def test_three_steps_are_one_graph(section: schema.Objective, model: dict[str, object]) -> None:
    torch._dynamo.reset()
    plain, compiled, counter = build(section, **model), build(section, **model), CompileCounter()
    compiled.compile(backend=counter, fullgraph=True)  # raises where the graph would break
    domains = torch.arange(IMAGES) % 2
    for step in range(3):
        images = torch.randint(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=torch.uint8)
        slots = torch.arange(IMAGES) + step * IMAGES
        weights = torch.full((len(plain.term_names),), 0.1 * (step + 1))
        expected, _ = plain(images, domains, slots, weights)
        total, _ = compiled(images, domains, slots, weights)
        assert torch.allclose(total, expected, rtol=1e-5)
        total.backward()
    assert counter.frame_count == 1
