"""A small sound folder that wrong invocations run in: shards, a trained run, pictures, a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_use.play import call
from tests.engine.runs import TINY
from tests.translation.tiny import save_pictures

SHARD = "srae-dist shard --faces 16 --domains photo,anime --size 32 --shards 1 --out shards/faces"
TRAIN = "srae-dist train tiny.toml"

_TEXTS = {"perceptual.weights", "train.precision", "train.schedule", "engine.compile"}


def build(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """Fill a folder, with the commands themselves."""
    patch.chdir(root)
    (root / "tiny.toml").write_text(recipe())
    (root / "notes.txt").write_text("Buy milk.\n")
    (root / "empty").mkdir()
    save_pictures(
        root / "pictures", [f"{name}/{i}.png" for name in ("photo", "anime") for i in "ab"]
    )
    for command in (SHARD, TRAIN):
        done = call(command, patch)
        assert done.code == 0, done.said
    return root


def recipe() -> str:
    """The text of a recipe whose run takes one step of 8 images."""
    values = {**TINY, "data.root": "shards/faces", "run.dir": "runs/tiny", "train.steps": 1}
    values["perceptual.layers"] = '["relu1_2"]'
    lines: dict[str, list[str]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        text = f'"{value}"' if key in _TEXTS | {"data.root", "run.dir"} else value
        lines.setdefault(section, []).append(f"{name} = {text}")
    return "\n\n".join("\n".join([f"[{name}]", *rows]) for name, rows in lines.items()) + "\n"
