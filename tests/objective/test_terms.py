"""The loss terms: bounds, minima and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from srae_dist.core.types import Gaussian
from srae_dist.objective import terms

LOGITS = st.integers(2, 6).flatmap(
    lambda m: st.lists(
        st.lists(st.floats(-30, 30, width=32), min_size=m, max_size=m), min_size=1, max_size=4
    )
)


def gradient(confusion: str, logits: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    getattr(terms, confusion)(logits).backward()
    assert logits.grad is not None
    return logits.grad


@settings(deadline=None)
@given(LOGITS)
def test_negative_entropy_lies_between_sure_and_unsure(rows: list[list[float]]) -> None:
    value = float(terms.negative_entropy(torch.tensor(rows)))
    assert -math.log(len(rows[0])) - 1e-5 <= value <= 1e-6


@settings(deadline=None)
@given(LOGITS)
def test_confusion_is_least_where_all_domains_are_equal(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows)
    even = torch.zeros_like(logits)
    for term in (terms.negative_entropy, terms.cross_entropy_to_uniform):
        assert float(term(even)) <= float(term(logits)) + 1e-6
        assert float(term(logits)) == pytest.approx(float(term(logits + 3)), abs=1e-4)
    assert float(terms.cross_entropy_to_uniform(even)) == pytest.approx(math.log(len(rows[0])))
    assert float(terms.negative_entropy(even)) == pytest.approx(-math.log(len(rows[0])))


def test_negative_entropy_is_the_paper_s_sum() -> None:
    q = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    expected = float((q * q.log()).sum(dim=1).mean())
    assert float(terms.negative_entropy(q.log() + 5)) == pytest.approx(expected)


@pytest.mark.parametrize("confusion", ["negative_entropy", "cross_entropy_to_uniform"])
def test_descending_confuses(confusion: str) -> None:
    """The paper's sign is the trap: a step down must make q less sure, never more."""
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    stepped = logits - 0.1 * gradient(confusion, logits)
    assert stepped.softmax(dim=1).max() < logits.softmax(dim=1).max()


def test_entropy_s_gradient_vanishes_when_q_is_sure_and_uniform_s_does_not() -> None:
    """Why ``confusion = "uniform"`` exists."""
    sure = torch.tensor([[10.0, 0.0]])
    entropy = float(gradient("negative_entropy", sure).norm())
    uniform = float(gradient("cross_entropy_to_uniform", sure).norm())
    assert uniform > 0.5
    assert entropy < uniform / 900


@pytest.mark.parametrize("confusion", ["negative_entropy", "cross_entropy_to_uniform"])
def test_a_perfectly_sure_discriminator_gives_no_nan(confusion: str) -> None:
    logits = torch.tensor([[200.0, -200.0]])
    assert math.isfinite(float(getattr(terms, confusion)(logits)))
    assert torch.isfinite(gradient(confusion, logits)).all()


def test_discriminator_is_cross_entropy_to_be_minimised() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    right, wrong = torch.tensor([0, 1]), torch.tensor([1, 0])
    log_q = logits.log_softmax(dim=1)
    expected = -(log_q[0, 0] + log_q[1, 1]) / 2
    torch.testing.assert_close(terms.discriminator(logits, right), expected)
    assert terms.discriminator(logits, right) < terms.discriminator(logits, wrong)


def test_the_prior_is_zero_at_a_standard_normal_and_only_there() -> None:
    zero, one = torch.zeros(2, 3), torch.ones(2, 3)
    assert float(terms.prior(Gaussian(zero, one))) == 0
    for mean, sigma in ((zero + 0.1, one), (zero, one * 0.9), (zero, one * 1.1)):
        assert float(terms.prior(Gaussian(mean, sigma))) > 0


def test_the_prior_is_the_divergence_per_number() -> None:
    source = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 5, 3, 3, generator=source)
    sigma = torch.rand(2, 5, 3, 3, generator=source) + 0.1
    expected = kl_divergence(Normal(mean, sigma), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(terms.prior(Gaussian(mean, sigma)), expected)


def test_perceptual_is_a_weighted_mean_per_layer() -> None:
    source = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 8, 8), (2, 6, 4, 4)]
    got = [torch.randn(shape, generator=source) for shape in shapes]
    target = [torch.randn(shape, generator=source) for shape in shapes]
    squares = [float(((f - t) ** 2).mean()) for f, t in zip(got, target, strict=True)]
    value = terms.perceptual(got, target, [0.5, 2.0])
    assert float(value) == pytest.approx(0.5 * squares[0] + 2 * squares[1])
    assert float(terms.perceptual(target, target, [1.0, 1.0])) == 0


def test_perceptual_does_not_depend_on_the_image_size() -> None:
    """The paper's plain sum does."""
    small, large = torch.ones(1, 3, 4, 4), torch.ones(1, 3, 16, 16)
    values = [terms.perceptual([f], [f * 3], [1.0]) for f in (small, large)]
    assert torch.equal(values[0], values[1])


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0]])
def test_a_weight_for_each_layer(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="zip"):
        terms.perceptual([torch.ones(1)] * 2, [torch.ones(1)] * 2, weights)


def test_pixel_is_the_mean_absolute_error() -> None:
    x_hat, x = torch.tensor([[1.0, -1.0], [0.5, 0.0]]), torch.tensor([[0.0, 0.0], [0.5, 1.0]])
    assert float(terms.pixel(x_hat, x)) == pytest.approx(0.75)


def test_half_precision_is_summed_in_float32() -> None:
    """300 squared does not fit float16."""
    f, t = torch.full((4,), 300.0, dtype=torch.float16), torch.zeros(4, dtype=torch.float16)
    assert float(terms.perceptual([f], [t], [1.0])) == pytest.approx(90_000)
    assert terms.pixel(f, t).dtype == torch.float32


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_squared_error_is_the_plain_formula_s(
    kind: torch.dtype, layout: torch.memory_format
) -> None:
    both = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).to(kind)
    f, t = (x.contiguous(memory_format=layout) for x in both)
    plain = f.float().requires_grad_()
    f.requires_grad_()
    found = terms.mean_squared_error(f, t)
    expected = (plain - t.float()).square().mean()
    (3 * found).backward()
    (3 * expected).backward()
    assert f.grad is not None and plain.grad is not None
    assert found.dtype == torch.float32 and f.grad.dtype == kind
    rounding = 2 * torch.finfo(kind).eps
    torch.testing.assert_close(found, expected, rtol=rounding, atol=0.0)
    torch.testing.assert_close(f.grad.float(), plain.grad, rtol=rounding, atol=1e-6)


def test_squared_error_of_equals_is_nothing() -> None:
    f = torch.ones(2, 3, requires_grad=True)
    terms.mean_squared_error(f, torch.ones(2, 3)).backward()
    assert f.grad is not None and not f.grad.any()
