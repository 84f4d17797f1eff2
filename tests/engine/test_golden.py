"""The golden loss curve: thirty steps of a tiny run, fp32, one thread.

Any change of model, objective, order, noise, optimizer or schedule shows here. To accept one on
purpose: ``python -m tests.engine.test_golden`` rewrites the curve; say why in the commit message.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.runs import log, train, write_recipe

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 30
TOLERANCE = 2e-3  # relative: another CPU's kernels round differently, and thirty steps add it up
NAMES = ("reconstruction", "pixel", "confusion", "discriminator_c", "discriminator_d", "domain")


def curve(shards: Path, folder: Path) -> list[dict[str, float]]:
    run = folder / "run"
    recipe = write_recipe(folder, shards)
    train(
        recipe,
        run,
        train__steps=STEPS,
        train__save_every=STEPS,
        train__sample_every=STEPS,
        train__log_every=5,
        train__lr=2e-3,
        train__discriminator_lr=2e-3,
        train__schedule="cosine",
        objective__discriminators=2,
        objective__confusion_warmup=10,
    )
    return [{name: line[name] for name in ("step", *NAMES)} for line in log(run)]


def test_the_losses_follow_the_golden_curve(face_shards: Path, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    for expected, got in zip(golden, curve(face_shards, tmp_path), strict=True):
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=TOLERANCE), (expected["step"], name)
    assert golden[-1]["reconstruction"] < 0.7 * golden[0]["reconstruction"]  # it does learn


def main() -> None:
    import tempfile

    import tests.conftest as fixtures

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([*fixtures.FACES, "--out", str(folder / "faces")], check=True)
        GOLDEN.write_text(json.dumps(curve(folder / "faces", folder), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
