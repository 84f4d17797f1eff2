"""The whole path among planted pickles: ``python -m tests.hostile.whole_path ROOT``.

Every pickle that is planted makes a folder when it is loaded; ``traps`` catches whoever tries.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srae_dist.core.atomic import sha256_file
from srae_dist.data.digests import digests_of_file
from srae_dist.data.manifest import load_manifest, load_tables, save_index
from tests.bad_use import world
from tests.bad_use.play import call
from tests.translation.tiny import save_pictures

MARKER = "a_pickle_was_loaded"
IN_RUNS = ("model.pt", "optimizer.bin", "pytorch_model.bin", "random_states_0.pkl", "scheduler.pkl")
IN_SHARDS = ("a.pkl", "a.pyd", "a.pickle", "a.pth", "a.pt", "a.npy", "a.npz", "a.dill", "a.mp")
SHARDS, RUN, AIM = "shards/faces", "runs/tiny", "--to anime"
CHECKPOINT = f"{RUN}/checkpoints/step-00000002"
PATH = (  # a command, and how it must end
    ("srae-dist train tiny.toml --set train.steps=2 --set data.workers=1", 0),
    ("plant in runs", 0),
    ("srae-dist train tiny.toml --set train.steps=3", 0),
    (f"srae-dist batch-translate {RUN} pictures {AIM} --out one --references {SHARDS}", 0),
    (f"srae-dist batch-translate {RUN} {SHARDS} {AIM} --out two --from photo", 0),
    (f"srae-dist evaluate {RUN} {SHARDS} --only classification --only embedding --seeds 1", 0),
    (f"srae-dist embed {RUN} {SHARDS}", 0),
    (f"srae-dist classify {RUN} {SHARDS} --seeds 1", 0),
    (f"srae-dist neighbours pictures/photo/a.png --in anime --run {RUN}", 0),
    (f"srae-dist neighbours pictures/photo/a.png --in anime --run {RUN}", 0),  # by the index
    (f"srae-dist bench order {SHARDS} --steps 1 --workers 1 --global-batch 8", 0),
    (f"srae-dist export {RUN} --out exported --format onnx", 0),
    ("srae-dist shard --index foreign", 2),
    (f"srae-dist batch-translate {CHECKPOINT}/model.pt pictures {AIM} --out no", 2),
    ("srae-dist train tiny.toml --set perceptual.weights=runs/tiny/model.pt --set run.dir=x", 2),
    (f"srae-dist neighbours {RUN}/model.pt --in anime --run {RUN}", 2),
    (f"srae-dist evaluate {RUN} {SHARDS} --only distances --inception {RUN}/model.pt", 2),
    (f"srae-dist neighbours pictures/photo/a.png --in anime --run {RUN} --index {RUN}/model.pt", 2),
)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path(MARKER).absolute()),)


def bombs() -> dict[str, bytes]:
    """A pickle, by itself and as the object array of a numpy file."""
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    return {"npy": stream.getvalue(), "": pickle.dumps(Bomb())}


def bomb_for(name: str) -> bytes:
    found = bombs()
    return found["npy" if name.endswith("npy") else ""]


def plant_in_shards(root: Path) -> None:
    """Put pickles behind the samples of each shard; index and manifest vouch for them."""
    manifest = load_manifest(root)
    splits = {}
    for name, split in manifest.splits.items():
        index, _ = load_tables(root, split, len(manifest.domains))
        for shard in split.shards:
            add_members(root / shard.file, IN_SHARDS)
        files = [digests_of_file(root / shard.file) for shard in split.shards]
        pairs = zip(split.shards, files, strict=True)
        shards = tuple(replace(s, bytes=f.bytes, sha256=f.sha256()) for s, f in pairs)
        save_index(root / split.index, index, np.concatenate([f.digests() for f in files]))
        splits[name] = replace(split, shards=shards, index_sha256=sha256_file(root / split.index))
    replace(manifest, splits=splits).save(root)


def add_members(path: Path, names: tuple[str, ...]) -> None:
    with tarfile.open(path, "a") as tar:
        for name in names:
            info, data = tarfile.TarInfo(name), bomb_for(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def plant_in_runs() -> None:
    """Put files beside and in the checkpoints that other programs would load."""
    for folder in (Path(RUN), Path(CHECKPOINT).parent, Path(CHECKPOINT)):
        for name in IN_RUNS:
            (folder / name).write_bytes(bomb_for(name))


def prepare(root: Path, patch: pytest.MonkeyPatch) -> None:
    os.chdir(root)
    Path("tiny.toml").write_text(world.recipe().replace("train.steps = 1", "train.steps = 2"))
    assert call(world.SHARD.replace("--faces 16", "--faces 96"), patch).code == 0
    plant_in_shards(Path(SHARDS))
    save_pictures(Path("pictures"), ["photo/a.png", "anime/b.png"])
    for name in IN_SHARDS:
        (Path("pictures/photo") / name).write_bytes(bomb_for(name))
    Path("foreign").mkdir()
    add_members(Path("foreign/train-000000.tar"), IN_SHARDS)


def springs() -> None:
    """Prove that the traps are set."""
    Path("loaded.pkl").write_bytes(pickle.dumps(1))
    import torch

    importlib.import_module("yaml")
    with pytest.raises(RuntimeError, match=r"pickle\.loads"):
        pickle.loads(pickle.dumps(1))
    with Path("loaded.pkl").open("rb") as file, pytest.raises(RuntimeError, match=r"pickle\.load"):
        pickle.load(file)
    with pytest.raises(RuntimeError, match=r"torch\..*load"):
        torch.load("loaded.pkl", weights_only=True)
    with pytest.raises(RuntimeError, match="allow_pickle"):
        np.load("loaded.pkl", allow_pickle=True)


def walk(root: Path) -> None:
    """Run all commands; anything but the end that they must come to is an error."""
    with pytest.MonkeyPatch.context() as patch:
        prepare(root, patch)
        for command, code in PATH:
            if command == "plant in runs":
                plant_in_runs()
                continue
            done = call(command, patch)
            if done.code != code:
                raise SystemExit(f"{command} ended with {done.code}: {done.said}")
    if Path(MARKER).exists():
        raise SystemExit("a pickle was loaded")
    springs()


if __name__ == "__main__":
    walk(Path(sys.argv[1]))
