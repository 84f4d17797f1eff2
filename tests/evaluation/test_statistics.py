"""KID and FID against closed forms, and against torch-fidelity's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator
from srae_dist.evaluation import statistics
from srae_dist.evaluation.statistics import fid, kid

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def vectors(count: int, size: int, *name: str | int, mean: float = 0.0) -> Matrix:
    return generator(0, "test", *name).standard_normal((count, size)) + mean


def test_kid_of_whole_sets_is_the_formula() -> None:
    x, y = vectors(7, 3, "x"), vectors(7, 3, "y", mean=0.5)

    def kernel(a: Matrix, b: Matrix) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within = sum(
        kernel(s[i], s[j]) for s in (x, y) for i in range(7) for j in range(7) if i != j
    ) / (7 * 6)
    between = sum(kernel(a, b) for a in x for b in y) / 49
    found = kid(x, y, subsets=2, subset_size=7)
    assert found.mean == pytest.approx(within - 2 * between, rel=1e-12)
    assert found.std == pytest.approx(0.0, abs=1e-12)  # both subsets are all there is


def test_kid_equals_torch_fidelitys() -> None:
    reference = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = vectors(60, 16, "x"), vectors(60, 16, "y", mean=0.3)
    theirs = reference.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=60, verbose=False
    )
    ours = kid(x, y, subsets=1, subset_size=60)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)


def test_kid_is_unbiased() -> None:
    # of one distribution the estimates scatter around 0, on both sides
    found = [
        kid(vectors(40, 8, "x", n), vectors(40, 8, "y", n), subsets=10).mean for n in range(60)
    ]
    error = float(np.std(found)) / len(found) ** 0.5
    assert abs(float(np.mean(found))) < 3 * error
    assert 15 < sum(value < 0 for value in found) < 45


def test_kid_of_images_with_their_likenesses() -> None:
    # a set and its exact copy: pairs of an image with itself would pull the estimate below 0
    x = vectors(400, 8, "x")
    naive, fair = kid(x, x), kid(x, x, paired=True)
    apart = kid(vectors(400, 8, "x"), vectors(400, 8, "y"))
    assert abs(fair.mean) < 2 * fair.std / fair.subsets**0.5 + 1e-3
    assert naive.mean < fair.mean - 2 * apart.std / 10


def test_kid_grows_with_the_distance() -> None:
    x = vectors(300, 4, "x")
    near, far = (kid(x, vectors(250, 4, "y", mean=m)) for m in (0.2, 0.5))
    assert 0 < near.mean < far.mean
    assert near.subset_size == 125


def test_rows_worked_on_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(50, 4, "x"), vectors(41, 4, "y", mean=0.2)
    whole = kid(x, y)
    monkeypatch.setattr(statistics, "_ROWS", 16)
    assert kid(x, y).mean == pytest.approx(whole.mean, rel=1e-9)


def test_kid_depends_on_the_seed_alone() -> None:
    x, y = vectors(30, 4, "x"), vectors(20, 4, "y")
    assert kid(x, y, seed=1) == kid(x, y, seed=1) != kid(x, y, seed=2)
    assert kid(x, y).subset_size == 10


@pytest.mark.parametrize(
    ("count", "arguments", "said"),
    [
        (3, {}, "4 images"),
        (9, {"subset_size": 10}, "take 2 to 9"),
        (9, {"subset_size": 5, "paired": True}, "take 2 to 4"),
    ],
)
def test_too_few_images_for_kid(count: int, arguments: dict[str, int], said: str) -> None:
    x = vectors(count, 4, "x")
    with pytest.raises(UserError, match=said):
        kid(x, x, **arguments)  # type: ignore[arg-type]


def with_moments(count: int, mean: Matrix, covariance: Matrix, *name: str) -> Matrix:
    """Vectors whose mean and covariance are these, exactly."""
    x = vectors(count, len(mean), *name)
    x = x - x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    found: Matrix = x @ np.linalg.cholesky(covariance).T + mean
    return found


def test_fid_is_the_formula_of_two_gaussians() -> None:
    first, second = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 1.0, 9.0])
    mean = np.array([1.0, -2.0, 0.5])
    x, y = with_moments(50, mean, first, "x"), with_moments(80, 0 * mean, second, "y")
    expected = 5.25 + (1 - 2) ** 2 + (2 - 1) ** 2  # |m|^2 + sum of (sigma1 - sigma2)^2
    assert fid(x, y) == pytest.approx(expected, rel=1e-10)
    turn = np.linalg.qr(vectors(3, 3, "turn")).Q
    assert fid(x @ turn, y @ turn) == pytest.approx(expected, rel=1e-10)


def test_fid_equals_torch_fidelitys() -> None:
    reference = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = vectors(300, 12, "x") * 2, vectors(200, 12, "y", mean=0.2)
    first, second = (reference.fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y))
    theirs = reference.fid_statistics_to_metric(first, second, False)
    assert fid(x, y) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-8)


def test_fid_is_real_where_covariances_are_singular() -> None:
    x, y = vectors(10, 64, "x"), vectors(12, 64, "y")  # fewer images than numbers
    assert fid(x, x) == pytest.approx(0.0, abs=1e-12)
    assert fid(x, y) == pytest.approx(fid(y, x), rel=1e-10)
    padded = fid(np.pad(x, ((0, 0), (0, 9))), np.pad(y, ((0, 0), (0, 9))))
    assert padded == pytest.approx(fid(x, y), rel=1e-10)
    tall = vectors(50, 8, "x")[:, [0, 1, 2, 2, 2, 2]]  # more images, and a rank of 3
    assert fid(tall, tall + 1.0) == pytest.approx(6.0, rel=1e-9)


def test_too_few_images_for_fid() -> None:
    with pytest.raises(UserError, match="2 images"):
        fid(vectors(1, 4, "x"), vectors(5, 4, "y"))
