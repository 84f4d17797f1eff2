"""Everything beyond the paper at once: it trains, resumes to the bit, and is of use afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import srae_dist
from tests.engine.launches import TWO_RANKS, start, wait
from tests.engine.runs import log, tensors, train, write_recipe

PLUS = {
    "model__content_levels": 3,
    "model__dense_discriminators": 1,
    "model__decoder": "modulate",
    "model__domain_sees": "tuned",
    "objective__route": "encoder",
    "objective__confusion": "uniform",
    "objective__confusion_weight": 1.0,
    "objective__q_sees": "both",
    "objective__alignment_weight": 1.0,
    "objective__q_memory": 20,
    "objective__domain_code": "pooled",
    "objective__own_numbers": 1,
    "objective__decoded_share": 0.5,
    "objective__critic_weight": 0.1,
    "objective__content_cycle_weight": 0.1,
    "objective__likeness_weight": 0.1,
    "model__critic_width": 8,
    "train__discriminator_schedule": "constant",
    "train__save_every": 3,
    "train__sample_every": 100,
}


@pytest.fixture(scope="module")
def whole(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plus")
    train(write_recipe(folder, face_shards), folder / "whole", train__steps=6, **PLUS)
    return folder / "whole"


def test_every_term_is_logged_and_finite(whole: Path) -> None:
    for line in log(whole):
        for term in (
            "alignment",
            "realism",
            "content_cycle",
            "unlikeness",
            "critic",
            "critic_slope",
        ):
            assert np.isfinite(line[term]), json.dumps(line)


def test_resuming_is_exact_to_the_bit(whole: Path, face_shards: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, face_shards)
    train(recipe, tmp_path / "cut", train__steps=3, **PLUS)
    train(recipe, tmp_path / "cut", train__steps=6, **PLUS)
    first, second = tensors(whole, 6), tensors(tmp_path / "cut", 6)
    assert first.keys() == second.keys()
    assert any("memory.codes" in name for name in first)  # else q_c would forget on each resume
    assert any("critic.heads" in name for name in first)
    assert any("eyes.features" in name for name in first)
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_two_ranks_resume_to_the_bit(face_shards: Path, tmp_path: Path) -> None:
    """Each step begins with the first rank's memory on both, and the checkpoint holds that one."""
    recipe = write_recipe(tmp_path, face_shards)
    for name, steps in (("whole", 6), ("cut", 3), ("cut", 6)):
        launched = start(recipe, tmp_path / name, *TWO_RANKS, train__steps=steps, **PLUS)
        code, output = wait(launched)
        assert code == 0, output
    first, second = tensors(tmp_path / "whole", 6), tensors(tmp_path / "cut", 6)
    assert first.keys() == second.keys()
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
    known = next(t for name, t in first.items() if "memory.domains" in name)
    assert known.tolist().count(-1) == 0


def test_micro_batches_teach_the_panel_the_same(
    whole: Path, face_shards: Path, tmp_path: Path
) -> None:
    """Terms that look at one image at a time do not depend on how a batch is cut."""
    others = ("alignment", "share", "memory", "domain_code", "own_numbers", "critic", "cycle")
    others += ("likeness",)
    alone = {k: v for k, v in PLUS.items() if not any(name in k for name in others)}
    recipe = write_recipe(tmp_path, face_shards)
    for name, size in (("one", 8), ("two", 4)):
        train(recipe, tmp_path / name, train__steps=3, train__micro_batch=size, **alone)
    first, second = (tensors(tmp_path / name, 3) for name in ("one", "two"))
    for name, tensor in first.items():
        if name.startswith("model") and tensor.is_floating_point():
            torch.testing.assert_close(tensor, second[name], atol=2e-4, rtol=1e-3, msg=name)


def test_the_trained_model_translates(whole: Path) -> None:
    model = srae_dist.load(whole)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    codes = model.encode(images)
    assert set(codes.content.mean.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert model.translate(images, to=model.domains[0]).shape == images.shape
