"""Which samples make up each global batch: arithmetic on (seed, manifest, global batch), no state.

Nothing here knows of ranks, workers or micro-batches: rank r of R takes the r-th of R equal slices
of ``Order.batch(step)``, and its micro-batches are slices of that. So the position in the data is
one integer, the step, and a run resumes anywhere and on any number of machines.

With ``balance = "natural"`` all samples form one endless sequence; with ``"domain"`` each of the m
domains has its own, and slot g = step * global batch + i takes place g // m in the sequence of
domain g % m. A sequence is cut into *lanes*; its share of a batch has equally much of every lane.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator

Integers = NDArray[np.int64]
Balance = Literal["domain", "natural"]

LANES = 64  # default number of lanes, where it divides the share
CACHED = 32  # epochs and windows kept; lanes advance together, so a batch touches one or two
WHOLE = slice(None)

_PHILOX = 4  # numbers that the generator makes at a time


class Order:
    """The endless order of a split's samples.

    ``domain`` and ``shard`` are the index's columns, ``domains`` the manifest's names. ``lanes``
    must divide the share a batch takes from one sequence; None chooses gcd(share, 64) or less.

    Raises:
        UserError: there is nothing to draw from, or ``lanes`` does not fit.
    """

    def __init__(
        self,
        seed: int,
        *,
        domain: NDArray[Any],
        shard: NDArray[Any],
        domains: Sequence[str],
        global_batch: int,
        balance: Balance,
        lanes: int | None,
        window: int,
    ) -> None:
        if balance == "domain":
            groups = [(name, np.flatnonzero(domain == i)) for i, name in enumerate(domains)]
        else:
            groups = [("all domains", np.arange(len(domain)))]
        self.seed, self.global_batch = seed, global_batch
        self.share = global_batch // math.gcd(global_batch, len(groups))
        self.sequences = tuple(
            SampleSequence(
                seed, name, members, shard=shard, share=self.share, lanes=lanes, window=window
            )
            for name, members in groups
        )

    def slots(self, step: int, part: slice = WHOLE) -> Integers:
        """Return the global batch's places in the endless order, int64 N: they name randomness."""
        begin, end, _ = part.indices(self.global_batch)
        return np.arange(begin, end) + step * self.global_batch

    def window_steps(self) -> int:
        """Return how many steps the longest open window lasts, about."""
        lasts = (s.window * s.lanes * len(self.sequences) for s in self.sequences)
        return max(1, -(-max(lasts) // self.global_batch))

    def steps_left(self, step: int) -> int:
        """Return for how many steps, from ``step`` on, all open windows stay open; at least 1."""
        groups = len(self.sequences)
        left = (s.places_left(step * self.global_batch // groups) for s in self.sequences)
        return max(1, min(left) * groups // self.global_batch)

    def batch(self, step: int, part: slice = WHOLE) -> Integers:
        """Return the sample numbers (rows of the index) of one global batch, int64 N.

        ``part`` of it costs part of the time: on a thousand ranks each works out its own.
        """
        slots, groups = self.slots(step, part), len(self.sequences)
        samples = np.empty_like(slots)
        for number, sequence in enumerate(self.sequences):
            mine = slice((number - int(slots[0])) % groups, None, groups)
            samples[mine] = sequence.samples(slots[mine] // groups)
        return samples


class SampleSequence:
    """The endless sequence of some samples: every epoch each of them once, but for a rotating few.

    Each epoch their shards are shuffled, laid end to end and cut by samples into ``lanes`` lanes of
    ``length`` places; the ``left_out`` = count mod lanes samples that do not fit are the next ones
    in the index's order, so that in the long run each misses equally many epochs. Inside a lane,
    windows of ``window`` places are permuted.
    """

    def __init__(
        self,
        seed: int,
        name: str,
        members: Integers,
        *,
        shard: NDArray[Any],
        share: int,
        lanes: int | None,
        window: int,
    ) -> None:
        count = len(members)
        if not count:
            raise UserError(
                f"The split to read has no samples of {name}; make shards that have some, or draw "
                'domains as they come with data.balance = "natural".'
            )
        self.lanes = _fitting_lanes(share, count) if lanes is None else lanes
        if share % self.lanes or self.lanes > count:
            raise UserError(
                f"data.lanes = {self.lanes} does not fit {name}: it must divide {share}, what "
                f"batches take of it at a time, and be at most {count}, its samples; "
                f"leave it out or take {_fitting_lanes(share, count)}."
            )
        self.length, self.left_out = divmod(count, self.lanes)
        self.window = min(window, self.length)
        self.name, self.count, self.share = name, count, share
        self._seed = seed
        by_shard = members[np.argsort(shard[members], kind="stable")]
        small = np.uint32 if len(shard) < 1 << 32 else np.int64
        self._members = by_shard.astype(small)
        counts = np.unique(shard[by_shard], return_counts=True)[1]
        self._bounds = np.concatenate([[0], np.cumsum(counts)])  # first member of each shard
        self._layout = functools.lru_cache(CACHED)(self._lay_out)
        self._permutation = functools.lru_cache(CACHED)(self._permute)

    def samples(self, positions: Integers) -> Integers:
        """Return the sample number at each position of the sequence, int64 N to int64 N."""
        per_lane = self.share // self.lanes
        turn, inside = np.divmod(positions, self.share)
        lane, step = np.divmod(inside, per_lane)
        epoch, place = np.divmod(turn * per_lane + step, self.length)
        window, place = np.divmod(place, self.window)
        block = epoch * -(-self.length // self.window) + window
        samples = np.empty_like(positions)
        for first in np.unique(block, return_index=True)[1]:
            here = block == block[first]
            e, w = int(epoch[first]), int(window[first])
            lanes = lane[here]
            low, high = int(lanes.min()), int(lanes.max()) + 1
            permuted = self._permutation(e, w, low, high)[lanes - low, place[here]]
            laid = lanes * self.length + w * self.window + permuted
            samples[here] = self._members[self._member(e, laid)]
        return samples

    def places_left(self, position: int) -> int:
        """Return how many positions, from ``position`` on, belong to the windows open there."""
        per_lane = self.share // self.lanes
        place = position // self.share * per_lane % self.length
        window = place // self.window * self.window
        end = min(window + self.window, self.length)
        return (end - place) * self.lanes - position % self.share

    def _member(self, epoch: int, laid: Integers) -> Integers:
        """Turn places in an epoch's layout, shards end to end, into places among the members."""
        starts, shift, hole = self._layout(epoch)
        kept = laid + shift[np.searchsorted(starts, laid, side="right") - 1]
        return kept + self.left_out * (kept >= hole)

    def _lay_out(self, epoch: int) -> tuple[Integers, Integers, int]:
        """Lay an epoch's shuffled shards end to end, without the members left out.

        Left out is the cyclic interval that begins where the last epoch's ended. Returns, for each
        shard, its first place and what to add to a place to count from the first kept member; and
        where the interval's hole begins.
        """
        count, bounds = len(self._members), self._bounds
        hole = epoch * self.left_out % count
        wrapped = max(0, hole + self.left_out - count)  # members left out at the very beginning
        kept = bounds - np.minimum(bounds, wrapped)
        kept -= np.clip(bounds - hole, 0, self.left_out - wrapped)
        shards = self._shuffles(0, 1, len(bounds) - 1, "shards", epoch)[0]
        sizes = np.diff(kept)[shards]
        starts = np.cumsum(sizes) - sizes
        return starts, kept[shards] - starts + wrapped, hole

    def _permute(self, epoch: int, window: int, low: int, high: int) -> NDArray[np.uint32]:
        """Permute one window in the lanes from ``low`` to before ``high``: lanes x places."""
        width = min(self.window, self.length - window * self.window)
        return self._shuffles(low, high, width, "window", epoch, window).astype(np.uint32)

    def _shuffles(self, low: int, high: int, length: int, *name: str | int) -> Integers:
        """Return the permutations ``low`` to before ``high`` of ``length`` places each.

        Sorts raw bits: numpy promises those for ever, but not what ``permutation`` makes of them.
        """
        bits = generator(self._seed, "order", self.name, *name).bit_generator
        assert isinstance(bits, np.random.Philox)  # which can jump
        blocks, rest = divmod(low * length, _PHILOX)
        bits.advance(blocks)
        raw = bits.random_raw(rest + (high - low) * length)[rest:]
        return np.argsort(raw.reshape(high - low, length), kind="stable")


def check_ranks(order: Order, *, micro_batch: int, ranks: int) -> int:
    """Return the micro-batches per step of each rank.

    Raises:
        UserError: ranks and micro-batch do not divide the global batch, or ranks the lanes.
    """
    if order.global_batch % ranks:
        raise UserError(
            f"train.global_batch = {order.global_batch} cannot be shared equally by {ranks} ranks; "
            "launch a number of processes that divides it, or change it."
        )
    for sequence in order.sequences:
        if sequence.lanes % ranks:
            raise UserError(
                f"{ranks} ranks cannot share the {sequence.lanes} lanes of {sequence.name} "
                f"equally: {_advice(sequence, ranks)}."
            )
    share = order.global_batch // ranks
    if share % micro_batch:
        raise UserError(
            f"train.micro_batch = {micro_batch} does not divide the {share} samples that each of "
            f"{ranks} ranks has of train.global_batch = {order.global_batch}; "
            f"take a divisor of {share}."
        )
    return share // micro_batch


def _advice(sequence: SampleSequence, ranks: int) -> str:
    """Say which lanes, or else which ranks, would do."""
    fitting = [
        lanes
        for lanes in range(ranks, min(sequence.share, sequence.count) + 1, ranks)
        if sequence.share % lanes == 0
    ]
    if fitting:
        near = min(fitting, key=lambda lanes: abs(lanes - sequence.lanes))
        return f"set data.lanes = {near}, or launch a number of processes that divides them"
    return (
        "launch a number of processes that divides them, or make train.global_batch a multiple of "
        f"{ranks} times the domains"
    )


def _fitting_lanes(share: int, count: int) -> int:
    """Return the default number of lanes: a power of two that divides the share."""
    lanes = math.gcd(share, LANES)
    while lanes > count:
        lanes //= 2
    return lanes
