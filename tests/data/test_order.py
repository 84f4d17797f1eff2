"""The order: what an epoch holds, how domains share, and that nothing else matters."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srae_dist.core.errors import UserError
from srae_dist.data.order import Order, check_ranks

SEEDS = st.integers(0, 2**31 - 1)
SHARDS = st.lists(st.integers(1, 12), min_size=1, max_size=6)  # samples in each shard


def make(
    shards: list[int],
    *,
    domains: int = 1,
    batch: int = 8,
    balance: str = "natural",
    lanes: int | None = None,
    window: int = 4,
    seed: int = 0,
) -> Order:
    n = sum(shards)
    return Order(
        seed,
        domain=np.arange(n) * 7 % domains,
        shard=np.repeat(np.arange(len(shards)), shards),
        domains=[f"d{i}" for i in range(domains)],
        global_batch=batch,
        balance=balance,
        lanes=lanes,
        window=window,
    )


@st.composite
def natural_orders(draw):
    shards = draw(SHARDS)
    lanes = draw(st.integers(1, min(6, sum(shards))))
    return make(
        shards,
        batch=lanes * draw(st.integers(1, 4)),
        lanes=lanes,
        window=draw(st.integers(1, 9)),
        seed=draw(SEEDS),
    )


def epochs(order: Order, count: int) -> list[list[int]]:
    """Split the batches of a natural order into its epochs, by following each lane."""
    sequence = order.sequences[0]
    steps = math.ceil(count * sequence.length * sequence.lanes / order.global_batch)
    batches = np.stack([order.batch(step) for step in range(steps)])
    lanes = batches.reshape(steps, sequence.lanes, -1).swapaxes(0, 1).reshape(sequence.lanes, -1)
    cuts = range(0, count * sequence.length, sequence.length)
    return [lanes[:, cut : cut + sequence.length].ravel().tolist() for cut in cuts]


@given(natural_orders())
@settings(max_examples=30, deadline=None)
def test_an_epoch_holds_every_sample_once_but_for_the_left_out(order):
    n = order.sequences[0].lanes * order.sequences[0].length + order.sequences[0].left_out
    for epoch in epochs(order, 3):
        assert len(set(epoch)) == len(epoch) == n - order.sequences[0].left_out
        assert set(epoch) <= set(range(n))


@given(natural_orders())
@settings(max_examples=30, deadline=None)
def test_every_sample_is_left_out_equally_often(order):
    sequence = order.sequences[0]
    n = sequence.lanes * sequence.length + sequence.left_out
    cycle = n // math.gcd(n, sequence.left_out)
    seen = Counter(sample for epoch in epochs(order, cycle) for sample in epoch)
    assert set(seen.values()) == {cycle - sequence.left_out // math.gcd(n, sequence.left_out)}
    assert len(seen) == n


@given(SHARDS, st.integers(2, 5), st.integers(1, 12), SEEDS)
@settings(max_examples=30, deadline=None)
def test_domains_share_equally_and_each_runs_through_its_samples(shards, domains, batch, seed):
    shards = [*shards, domains]  # so that no domain is empty
    order = make(shards, domains=domains, batch=batch, balance="domain", window=3, seed=seed)
    n = sum(shards)
    period = domains // math.gcd(batch, domains)
    steps = period * 2 * n  # more than an epoch of the largest domain
    samples = np.concatenate([order.batch(step) for step in range(steps)])
    drawn = samples * 7 % domains
    per_period = drawn.reshape(-1, period * batch)
    for domain, sequence in enumerate(order.sequences):
        assert ((per_period == domain).sum(axis=1) == order.share).all()
        members = {i for i in range(n) if i * 7 % domains == domain}
        counts = Counter(samples[drawn == domain].tolist())
        assert set(counts) <= members
        if not sequence.left_out:
            assert set(counts) == members
    assert (drawn == np.arange(len(drawn)) % domains).all()


def test_in_domain_balance_each_domain_has_epochs_of_its_own():
    order = make([10, 8], domains=3, batch=6, balance="domain", lanes=2)
    samples = np.concatenate([order.batch(step) for step in range(9)])  # 18 of each domain's 6
    assert set(Counter(samples.tolist()).values()) == {3}


@given(natural_orders(), st.lists(st.integers(0, 200), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_batch_can_be_asked_for_at_any_time(order, steps):
    expected = {step: order.batch(step).tolist() for step in range(201)}
    assert [order.batch(step).tolist() for step in steps] == [expected[step] for step in steps]


@given(natural_orders(), st.integers(0, 60), st.data())
@settings(max_examples=50, deadline=None)
def test_a_part_is_a_part_of_the_whole(order, step, data):
    begin = data.draw(st.integers(0, order.global_batch - 1))
    part = slice(begin, data.draw(st.integers(begin + 1, order.global_batch)))
    assert order.batch(step, part).tolist() == order.batch(step)[part].tolist()
    assert order.slots(step, part).tolist() == order.slots(step)[part].tolist()


def test_the_order_is_fixed_for_ever():
    """A change of these numbers changes what every recipe trains on: say so in the changelog."""
    order = make([4, 5, 6], domains=3, batch=6, balance="domain", seed=5)
    assert [order.batch(step).tolist() for step in (0, 1, 10**6)] == [
        [3, 4, 8, 9, 13, 11],
        [6, 7, 5, 12, 10, 14],
        [6, 13, 8, 12, 4, 11],
    ]


def test_seeds_and_epochs_differ():
    assert make([40, 40]).batch(0).tolist() != make([40, 40], seed=1).batch(0).tolist()
    first, second = epochs(make([40, 40], batch=1, lanes=1), 2)
    assert first != second


def test_shards_follow_one_another_and_a_lane_may_cross_them():
    order = make([10, 20, 30], batch=1, lanes=1, window=1)
    shards = np.repeat([0, 1, 2], [10, 20, 30])[epochs(order, 1)[0]]
    assert np.count_nonzero(np.diff(shards)) == 2
    assert make([10, 20, 30], batch=4, lanes=4).sequences[0].length == 15


def test_windows_stay_where_they_are():
    (epoch,) = epochs(make([64], batch=1, lanes=1, window=16), 1)
    blocks = np.reshape(epoch, (4, 16))
    assert [sorted(block) for block in blocks.tolist()] == np.arange(64).reshape(4, 16).tolist()
    assert any(sorted(block) != block for block in blocks.tolist())


@pytest.mark.parametrize("share, count, lanes", [(256, 1000, 64), (48, 1000, 16), (64, 9, 8)])
def test_default_lanes_fit_the_share_and_the_samples(share, count, lanes):
    assert make([count], batch=share).sequences[0].lanes == lanes


@given(natural_orders(), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_open_windows_last_as_long_as_is_said(order, start):
    """Up to there no sample comes of another window than those of the first step."""
    sequence = order.sequences[0]

    def windows(step: int) -> set[tuple[int, int]]:
        per_lane = sequence.share // sequence.lanes
        turn = order.slots(step) // sequence.share
        place = turn * per_lane + order.slots(step) % sequence.share % per_lane
        epoch, place = np.divmod(place, sequence.length)
        return set(zip(epoch.tolist(), (place // sequence.window).tolist(), strict=True))

    left = order.steps_left(start)
    if len(windows(start)) == 1:
        assert all(windows(step) == windows(start) for step in range(start, start + left))
        assert windows(start + left) != windows(start)


def test_a_domain_without_samples_is_named():
    with pytest.raises(UserError, match="no samples of d1"):
        Order(
            0,
            domain=np.zeros(4, int),
            shard=np.zeros(4, int),
            domains=["d0", "d1"],
            global_batch=2,
            balance="domain",
            lanes=None,
            window=4,
        )


@pytest.mark.parametrize("lanes", [3, 16])
def test_lanes_that_do_not_fit_are_refused(lanes):
    with pytest.raises(
        UserError, match=rf"data.lanes = {lanes} .*divide 16.* at most 10, .*take 8"
    ):
        make([10], batch=16, lanes=lanes)


def test_ranks_and_micro_batches_must_divide_the_global_batch():
    order = make([40], batch=24, lanes=6)
    assert check_ranks(order, micro_batch=4, ranks=3) == 2
    with pytest.raises(UserError, match="global_batch = 24 cannot be shared equally by 5 ranks"):
        check_ranks(order, micro_batch=4, ranks=5)
    with pytest.raises(UserError, match="micro_batch = 5 does not divide the 8 samples"):
        check_ranks(order, micro_batch=5, ranks=3)


def test_ranks_that_do_not_divide_the_lanes_are_told_what_would_do():
    with pytest.raises(UserError, match=r"8 ranks .* 6 lanes of all domains .*data.lanes = 8,"):
        check_ranks(make([40], batch=24, lanes=6), micro_batch=1, ranks=8)
    with pytest.raises(UserError, match="a multiple of 8 times the domains"):
        check_ranks(make([5], batch=24, lanes=4), micro_batch=1, ranks=8)


def test_a_batch_is_worked_out_in_far_less_than_its_decoding_takes():
    order = make([1000] * 40, domains=4, batch=256, balance="domain", window=1024)
    order.batch(0)
    start = time.perf_counter()
    for step in range(200):
        order.batch(step)
    assert (time.perf_counter() - start) / 200 < 5e-3
