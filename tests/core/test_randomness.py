"""Every random number follows its name and place, and is as random as it claims."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srae_dist.core import randomness

KEY = randomness.seed_of(0, "test")
SLOTS = torch.arange(1024)
NAMES = st.lists(st.integers() | st.sampled_from(["flip", "noise", "q_c"]), max_size=3)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """1024 slots of 1024 numbers."""
    return randomness.normal(SLOTS, (16, 8, 8), KEY)


def test_normal_has_the_moments_of_a_normal_variable(noise: Tensor) -> None:
    """Bounds are five standard errors of 2**20 draws."""
    z = noise.double().flatten()
    error = 5 / len(z) ** 0.5
    assert abs(float(z.mean())) < error
    assert abs(float(z.square().mean()) - 1) < error * 2**0.5
    assert abs(float((z**3).mean())) < error * 15**0.5
    assert abs(float((z**4).mean()) - 3) < error * 96**0.5
    assert float(z.abs().max()) > 4  # tails are there
    assert torch.isfinite(z).all()


def test_normal_follows_the_distribution_function(noise: Tensor) -> None:
    """Kolmogorov's distance, at its 0.1 % bound."""
    z = noise.double().flatten().sort().values
    empirical = (torch.arange(len(z)) + 0.5) / len(z)
    distance = (torch.special.ndtr(z) - empirical).abs().max()
    assert float(distance) < 1.95 / len(z) ** 0.5


def test_slots_places_and_keys_are_independent(noise: Tensor) -> None:
    flat = noise.reshape(len(SLOTS), -1)
    bound = 5 / (flat.numel() / 2) ** 0.5
    assert abs(correlation(flat[1:], flat[:-1])) < bound  # neighbouring slots
    assert abs(correlation(flat[:, 1:], flat[:, :-1])) < bound  # neighbouring places
    half = flat.shape[1] // 2  # the two numbers of one Box-Muller draw
    assert abs(correlation(flat[:, :half], flat[:, half:])) < bound
    assert abs(correlation(flat[:, :half].square(), flat[:, half:].square())) < bound
    other = randomness.normal(SLOTS, (16, 8, 8), randomness.seed_of(0, "other"))
    assert abs(correlation(flat, other)) < bound


def test_every_sample_and_every_place_is_standard(noise: Tensor) -> None:
    """No slot and no place is peculiar: 1024 means each, within six standard errors."""
    flat = noise.reshape(len(SLOTS), -1)
    for axis in (0, 1):
        size = flat.shape[axis]
        assert float(flat.mean(dim=axis).abs().max()) < 6 / size**0.5
        assert float((flat.square().mean(dim=axis) - 1).abs().max()) < 6 * (2 / size) ** 0.5


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_slot_s_noise_does_not_depend_on_its_batch(data: st.DataObject) -> None:
    slots = data.draw(st.lists(st.integers(0, 2**45), min_size=1, max_size=9))
    shape = data.draw(st.sampled_from([(), (1,), (3,), (3, 2, 2), (5, 1, 3)]))
    part = data.draw(st.lists(st.sampled_from(range(len(slots))), min_size=1, max_size=9))
    whole = randomness.normal(torch.tensor(slots), shape, KEY)
    assert whole.shape == (len(slots), *shape)
    assert whole.dtype == torch.float32
    chosen = torch.tensor(slots)[part]
    assert torch.equal(randomness.normal(chosen, shape, KEY), whole[part])
    coins = randomness.coin(torch.tensor(slots), KEY)
    assert torch.equal(randomness.coin(chosen, KEY), coins[part])


def test_an_empty_batch_is_allowed() -> None:
    assert randomness.normal(torch.arange(0), (3, 2), KEY).shape == (0, 3, 2)


def test_coins_are_fair_and_independent() -> None:
    slots = torch.arange(2**16)
    coins = randomness.coin(slots, KEY).float()
    assert abs(float(coins.mean()) - 0.5) < 2.5 / len(slots) ** 0.5
    for distance in (1, 2, 64, 1024):
        assert abs(correlation(coins[distance:], coins[:-distance])) < 5 / len(slots) ** 0.5
    other = randomness.coin(slots, randomness.seed_of(1, "test")).float()
    assert abs(correlation(coins, other)) < 5 / len(slots) ** 0.5


def test_large_slots_do_not_repeat_small_ones() -> None:
    """Slots pass 2**32 in a long run of large batches."""
    far = torch.tensor([0, 1 << 32, 1 << 33, (1 << 32) + 1, 1 << 44])
    bits = randomness.hash_bits(far, KEY)
    assert len(bits.unique()) == len(far)
    rows = randomness.normal(far, (512,), KEY)
    for i in range(len(far)):
        for j in range(i):
            assert abs(correlation(rows[i], rows[j])) < 0.25


@pytest.mark.parametrize("bit", [0, 7, 31, 32, 47, 62])
def test_every_bit_of_a_key_matters(bit: int) -> None:
    flipped = randomness.normal(SLOTS, (16,), KEY ^ (1 << bit))
    assert abs(correlation(flipped, randomness.normal(SLOTS, (16,), KEY))) < 0.1


def test_bits_are_32_and_balanced() -> None:
    bits = randomness.hash_bits(torch.arange(2**14), KEY)
    assert int(bits.min()) >= 0
    assert int(bits.max()) < 2**32
    for place in range(32):
        share = float(((bits >> place) & 1).float().mean())
        assert abs(share - 0.5) < 0.025, place


@given(NAMES, NAMES, st.integers(0, 2**31), st.integers(0, 2**31))
def test_distinct_names_give_distinct_seeds(
    first: list[str | int], second: list[str | int], a: int, b: int
) -> None:
    same = a == b and [*map(str, first)] == [*map(str, second)]
    one, two = randomness.seed_of(a, *first), randomness.seed_of(b, *second)
    assert (one == two) == same
    assert 0 <= one < 2**63


def test_the_parts_of_a_name_stay_apart() -> None:
    assert randomness.seed_of(1, 2) != randomness.seed_of(12)
    assert randomness.seed_of(0, "a", "b") != randomness.seed_of(0, "ab")


def test_numpy_generators_follow_their_name() -> None:
    draws = [
        randomness.generator(0, *name).random(8) for name in [("a",), ("a",), ("b",), ("a", 0)]
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], draws[3])


def test_nothing_touches_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    randomness.normal(SLOTS, (4,), KEY)
    randomness.coin(SLOTS, KEY)
    randomness.generator(0, "x").random()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_slots_never_share_their_numbers_in_another_order() -> None:
    """Found by search: hashes of these two slots share their upper bits, which once was enough."""
    for seed in range(3):
        key = randomness.seed_of(seed, "content noise")
        pair = randomness.normal(torch.tensor([95738, 463353]), (64, 4, 4), key)
        shared = set(pair[0].flatten().tolist()) & set(pair[1].flatten().tolist())
        assert len(shared) <= 2
