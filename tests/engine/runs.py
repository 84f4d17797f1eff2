"""Tiny training runs for tests: a few steps of a few thousand parameters, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

TINY = {
    "data.window": 16,
    "data.workers": 0,
    "model.code_size": 4,
    "model.width": 8,
    "model.max_width": 16,
    "model.content_channels": 4,
    "model.domain_channels": 3,
    "model.discriminator_width": 8,
    "perceptual.weights": "random",
    "perceptual.layers": "relu1_2",
    "train.global_batch": 8,
    "train.precision": "fp32",
    "train.log_every": 1,
    "train.warmup": 2,
    "train.schedule": "constant",
    "train.mean_code_images": 16,
    "engine.threads": 1,
    "engine.compile": "off",
    "run.trackers": "[]",
}
TIMED = ("images_per_s", "data_wait")


def write_recipe(folder: Path, shards: Path) -> Path:
    """A recipe with every value a tiny run needs."""
    path = folder / "tiny.toml"
    path.write_text(f'[data]\nroot = "{shards}"\n')
    return path


def sets(values: dict[str, Any]) -> list[str]:
    """Values as ``--set`` arguments' texts."""
    return [f"{key}={value}" for key, value in {**TINY, **values}.items()]


def command_line(values: dict[str, Any]) -> list[str]:
    """Values as ``--set`` arguments of a process."""
    return [part for text in sets(values) for part in ("--set", text)]


def train(recipe: Path, run: Path, **values: Any) -> int:
    """Run the trainer here; keyword ``train__steps`` means the key ``train.steps``."""
    from accelerate.state import AcceleratorState

    from srae_dist.train import train as command

    AcceleratorState._reset_state(reset_partial_state=True)  # a process trains once; tests often
    given = {key.replace("__", "."): value for key, value in values.items()}
    return command(str(recipe), sets({"run.dir": run, **given}))


def log(run: Path) -> list[dict[str, Any]]:
    """A run's log without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


def tensors(run: Path, step: int) -> dict[str, Any]:
    """Every tensor of a checkpoint, by file and name."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    return {
        f"{file.name}:{name}": tensor
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
