"""Sizes and shapes are looked at before anything is allocated, in whatever a stranger wrote."""

from __future__ import annotations

import json
import os
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import MOST_BYTES, read_json
from srae_dist.data.manifest import MAX_MANIFEST, load_manifest, load_tables
from srae_dist.recipe.load import MOST_BYTES as MOST_RECIPE
from srae_dist.recipe.load import load_recipe
from srae_dist.runtime import checkpoint
from srae_dist.translation.translator import load
from tests.evaluate.runs import save_run
from tests.fuzz.targets import ManifestFile

ROOM = 300 << 20  # bytes that reading a file of some kB may add to the peak of memory
PATIENCE = 5.0  # seconds
DEEP = "[" * 200_000


@pytest.fixture(autouse=True)
def frugal() -> Iterator[None]:
    """Nothing here takes long, or much memory."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - begun < PATIENCE
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < ROOM


def tensors_file(path: Path, head: dict[str, Any], body: bytes = b"") -> Path:
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def entry(*shape: int, size: int = 0, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [0, size]}


@pytest.mark.parametrize(
    "tensor",
    [
        entry(1 << 40, 1 << 40),
        entry(1 << 62),
        entry(1 << 32, 1 << 32, size=0),
        entry(1000, 1000, size=4_000_000),
        entry(-1),
        {"dtype": "F32", "shape": [1], "data_offsets": [1 << 63, (1 << 63) + 4]},
    ],
)
def test_a_header_that_claims_more_than_its_file_has(
    tmp_path: Path, tensor: dict[str, Any]
) -> None:
    said = {"srae_dist": json.dumps({"version": checkpoint.VERSION})}
    path = tensors_file(tmp_path / "ema.safetensors", {"__metadata__": said, "mean_codes": tensor})
    with pytest.raises(UserError, match=r"ema\.safetensors"):
        load(path, device="cpu")


def test_a_header_of_an_enormous_length(tmp_path: Path) -> None:
    path = tmp_path / "ema.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(UserError, match="no readable safetensors file"):
        load(path, device="cpu")


Change = Callable[[dict[str, Any]], object]


def with_header(root: Path, change: Change) -> Path:
    """A sound checkpoint whose header says something else."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = checkpoint.resolve(save_run(root))
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["srae_dist"])
    change(said)
    save_file(load_file(path), path, metadata={"srae_dist": json.dumps(said)})
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda said: said["recipe"]["model"].update(width=10**6), "model.width"),
        (lambda said: said["recipe"]["model"].update(width=4096, max_width=4096), "shape"),
        (lambda said: said["recipe"]["model"].update(blocks=16), "lacks"),
        (lambda said: said["recipe"]["model"].update(content_channels=4096), "shape"),
        (lambda said: said.update(image_size=1 << 20), "image_size"),
        (lambda said: said.update(step="x"), "step"),
        (lambda said: said.update(domains=["photo", "../../x"]), "safe name"),
        (lambda said: said.update(domains=["photo", "photo"]), "repeated"),
        (lambda said: said.update(domains=["photo"] * 100_000), "repeated"),
        (lambda said: said.pop("recipe"), "recipe"),
    ],
)
def test_a_model_is_not_built_that_its_file_does_not_hold(
    tmp_path: Path, change: Change, told: str
) -> None:
    with pytest.raises(UserError, match=f"does not describe a whole model.*{told}"):
        load(with_header(tmp_path / "run", change), device="cpu")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = with_header(tmp_path / "run", lambda said: None)
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        said = file.metadata()
    save_file(tensors, path, metadata=said)
    with pytest.raises(UserError, match="finite"):
        load(path, device="cpu")


def reading(root: Path) -> list[tuple[Path, Callable[[], Any]]]:
    """JSON files that strangers write, and what reads them."""
    run = save_run(root / "run")
    folder = next((run / "checkpoints").iterdir())
    shards = ManifestFile(root)

    def whole() -> None:
        if not checkpoint.is_whole(folder):
            raise UserError("not whole")

    return [
        (folder / checkpoint.STATE, lambda: checkpoint.read_state(folder)),
        (folder / checkpoint.DIGESTS, whole),
        (shards.root / "manifest.json", lambda: load_manifest(shards.root)),
    ]


@pytest.mark.parametrize("content", [DEEP, "[" * 500 + "]" * 500, '{"a":' * 100_000, "9" * 10_000])
@pytest.mark.parametrize("number", range(3))
def test_json_bombs(tmp_path: Path, number: int, content: str) -> None:
    path, read = reading(tmp_path)[number]
    path.write_text(content)
    with pytest.raises(UserError):
        read()


@pytest.mark.parametrize("number", range(3))
def test_files_beyond_all_measure(tmp_path: Path, number: int) -> None:
    path, read = reading(tmp_path)[number]
    with path.open("r+b") as file:
        file.truncate(max(MOST_BYTES, MAX_MANIFEST) + 1)  # a hole: takes no room on disk
    with pytest.raises(UserError):
        read()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.json")
    with pytest.raises(ValueError, match="plain file"):
        read_json(tmp_path / "state.json")
    run = save_run(tmp_path / "run")
    folder = next((run / "checkpoints").iterdir())
    (folder / checkpoint.EMA).unlink()
    os.mkfifo(folder / checkpoint.EMA)
    assert not checkpoint.is_whole(folder)


def test_an_index_is_bounded_by_what_the_manifest_counts(tmp_path: Path) -> None:
    shards = ManifestFile(tmp_path)
    path = shards.root / "train.index.safetensors"
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match="more than"):
        load_tables(shards.root, load_manifest(shards.root).splits["train"], 2)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + DEEP,
        "[train]\nsteps = " + "9" * 5000,
        "[train]\nsteps = " + "9" * 300,
        "[model]\nwidth = 1000000\nmax_width = 1000000",
        "[train]\nglobal_batch = 1000000000000",
        "a." * 50_000 + "b = 1",
        "a." * 1000 + "b = 1",
        "#" * (MOST_RECIPE + 1),
    ],
    ids=range(8),
)
def test_recipe_bombs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bomb.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bomb\.toml") as told:
        load_recipe(path)
    assert len(str(told.value)) < 500


def test_a_chain_of_recipes_has_an_end(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"\n')
    (tmp_path / "40.toml").write_text("")
    with pytest.raises(UserError, match="chain"):
        load_recipe(tmp_path / "0.toml")


def test_names_in_a_list_of_digests_stay_in_the_folder(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    folder = next((run / "checkpoints").iterdir())
    (tmp_path / "secret").write_text("x")
    listed = json.loads((folder / checkpoint.DIGESTS).read_text())
    for name in ("../../../secret", str(tmp_path / "secret"), "a/../../../../secret", "..", "."):
        value = {**listed, "sha256": {**listed["sha256"], name: sha256_file(tmp_path / "secret")}}
        (folder / checkpoint.DIGESTS).write_text(json.dumps(value))
        assert not checkpoint.is_whole(folder), name


def test_a_link_in_a_checkpoint_must_lead_to_the_bytes_that_were_written(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    folder = next((run / "checkpoints").iterdir())
    blob = tmp_path / "blob"
    (folder / checkpoint.EMA).rename(blob)
    (folder / checkpoint.EMA).symlink_to(blob)
    assert checkpoint.is_whole(folder), "caches of downloads keep files as links"
    (tmp_path / "other").write_bytes(b"x")
    (folder / checkpoint.EMA).unlink()
    (folder / checkpoint.EMA).symlink_to(tmp_path / "other")
    assert not checkpoint.is_whole(folder)


@pytest.mark.parametrize("linked", ["log.jsonl", "bad_samples.jsonl"])
def test_a_log_is_not_written_through_a_link(tmp_path: Path, linked: str) -> None:
    from srae_dist.runtime.runlog import RunLog

    for target in (tmp_path / "there", tmp_path / "not_there"):
        path = tmp_path / linked
        path.symlink_to(target)
        if target.name == "there":
            target.write_text('{"step": 1}\n')
        log = RunLog(path)
        log.cut(5)
        log.write(6, {"loss": 1.0})
        assert target.exists() == (target.name == "there")
        assert target.name != "there" or target.read_text() == '{"step": 1}\n'
        path.unlink()
