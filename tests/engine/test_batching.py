"""How a global batch is cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.core.errors import UserError
from srae_dist.engine.batching import DEFAULT_IMAGES, Batching, cut_batch

SIZES = st.sampled_from([32, 64, 96, 128, 256])
DEVICES = st.sampled_from(["cpu", "cuda", "mps", "xpu"])


@given(st.integers(1, 600), st.integers(1, 12), DEVICES, SIZES)
def test_the_pieces_make_the_whole(global_batch: int, ranks: int, device: str, size: int) -> None:
    try:
        cut = cut_batch(
            global_batch=global_batch,
            micro_batch=None,
            ranks=ranks,
            device=device,
            image_size=size,
        )
    except UserError:
        assert global_batch % ranks
        return
    assert cut.micro_batch * cut.accumulation * ranks == global_batch
    limit = max(1, DEFAULT_IMAGES.get(device, 32) * 64 * 64 // size**2)
    assert 1 <= cut.micro_batch <= limit
    larger = range(cut.micro_batch + 1, min(limit, global_batch // ranks) + 1)
    assert all((global_batch // ranks) % n for n in larger)  # the largest that fits


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 9))
def test_a_given_micro_batch_is_kept_or_refused(whole: int, micro: int, ranks: int) -> None:
    try:
        cut = cut_batch(
            global_batch=whole, micro_batch=micro, ranks=ranks, device="cpu", image_size=64
        )
    except UserError:
        assert whole % (micro * ranks)
        return
    assert cut == Batching(micro, whole // (micro * ranks))


@given(st.integers(1, 100), st.integers(2, 9))
def test_what_the_error_recommends_fits(whole: int, ranks: int) -> None:
    if whole % ranks == 0:
        return
    with pytest.raises(UserError, match=rf"{whole} cannot be shared by {ranks} ranks") as refused:
        cut_batch(global_batch=whole, micro_batch=None, ranks=ranks, device="cpu", image_size=64)
    advice = re.search(r"use (.*), or another number", str(refused.value))
    assert advice is not None
    numbers = [int(n) for n in advice[1].split(" or ")]
    assert numbers == sorted(set(numbers))
    for number in numbers:
        assert number > 0
        assert number % ranks == 0
        assert abs(number - whole) < ranks


def test_an_unfit_micro_batch_is_named_with_the_rank_s_share() -> None:
    with pytest.raises(UserError, match=r"micro_batch = 5 does not divide the 32 images.*64, 2 r"):
        cut_batch(global_batch=64, micro_batch=5, ranks=2, device="cpu", image_size=64)


def test_one_rank_is_not_several() -> None:
    with pytest.raises(UserError, match=r"64, 1 rank\)"):
        cut_batch(global_batch=64, micro_batch=5, ranks=1, device="cpu", image_size=64)


def test_large_images_go_one_by_one() -> None:
    cut = cut_batch(global_batch=6, micro_batch=None, ranks=2, device="cpu", image_size=1024)
    assert cut == Batching(1, 3)


def test_it_says_how() -> None:
    assert Batching(16, 2).describe(1) == "global batch 32 = 1 rank x 2 accumulated x 16 images"
    assert Batching(16, 2).describe(2) == "global batch 64 = 2 ranks x 2 accumulated x 16 images"
