"""Options of the networks that the paper does not have: rounding, styles, panels."""

from __future__ import annotations

import pytest
import torch

from srae_dist.model.build import build_autoencoder, build_discriminator
from srae_dist.model.encoder import quantised
from srae_dist.recipe.schema import Model

TINY = {"code_size": 4, "content_channels": 4, "domain_channels": 3, "width": 8, "max_width": 16}


@pytest.mark.parametrize("levels", [2, 3, 4, 7])
def test_rounded_numbers_take_the_levels_and_no_other_value(levels: int) -> None:
    x = torch.linspace(-4, 4, 1001, requires_grad=True)
    rounded = quantised(x, levels)
    allowed = torch.linspace(-1, 1, levels)
    values = rounded.detach().unique()
    assert (values[:, None] - allowed[None]).abs().amin(1).max() < 1e-6
    assert (allowed[:, None] - values[None]).abs().amin(1).max() < 1e-6  # all are taken
    assert (rounded.detach().diff() >= -1e-6).all()
    rounded.sum().backward()
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()).square())


def test_a_model_s_content_means_are_rounded() -> None:
    model = Model(**TINY, content_levels=3)
    codes = build_autoencoder(model, image_size=32, seed=0).encode(torch.rand(2, 3, 32, 32))
    assert set(codes.content.mean.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert len(codes.domain.mean.unique()) > 3


def test_a_style_can_scale_and_shift_features() -> None:
    """The constant map of a concatenated code can only be added; a style multiplies, too."""
    plain, styled = (
        build_autoencoder(Model(**TINY, decoder=kind), image_size=32, seed=0)
        for kind in ("concat", "modulate")
    )
    count = [sum(p.numel() for p in ae.decoder.parameters()) for ae in (plain, styled)]
    assert count[1] > count[0]
    content = torch.rand(2, 4, 4, 4)
    first, other = (styled.decode(content, torch.full((2, 3), v)) for v in (0.0, 1.0))
    assert first.shape == (2, 3, 32, 32)
    assert (first - other).abs().max() > 1e-3
    for style in styled.decoder.styles:
        assert (
            style(torch.rand(1, 16, 4, 4)[:, : style.norm.num_channels], torch.zeros(1, 3)).ndim
            == 4
        )


def test_a_panel_answers_once_for_each_member() -> None:
    q = build_discriminator(Model(**TINY, dense_discriminators=2), "q_c", num_domains=3, seed=0)
    logits = q(torch.rand(5, 4, 4, 4))
    assert logits.shape == (15, 3)
    assert not torch.allclose(logits[5:10], logits[10:])  # each starts from weights of its own


def test_a_perceptron_sees_where_something_is() -> None:
    q = build_discriminator(Model(**TINY, dense_discriminators=1), "q_c", num_domains=2, seed=0)
    here, there = torch.zeros(2, 4, 4, 4).split(1)
    here[0, 0, 0, 0] = there[0, 0, 3, 3] = 1.0
    assert not torch.allclose(q(here)[1], q(there)[1])


def test_q_d_has_no_panel() -> None:
    q = build_discriminator(Model(**TINY, dense_discriminators=2), "q_d", num_domains=3, seed=0)
    assert q(torch.rand(5, 3, 4, 4)).shape == (5, 3)


def test_one_level_is_refused() -> None:
    with pytest.raises(ValueError, match="content_levels"):
        Model(**TINY, content_levels=1)
