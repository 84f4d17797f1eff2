"""Training from a URL is training from the folder behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.data import remote
from tests.engine.runs import tensors, train, write_recipe

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from servers import http_server


def test_the_same_bits_from_a_url(
    face_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    recipe = write_recipe(tmp_path, face_shards)
    assert train(recipe, tmp_path / "local", train__steps=4) == ExitCode.DONE
    with http_server(face_shards) as server:
        server.fault = lambda number, path: 503 if number % 4 == 1 else None
        values = {"data__root": server.url, "data__cache_dir": tmp_path / "cache"}
        assert train(recipe, tmp_path / "remote", train__steps=4, **values) == ExitCode.DONE
        assert server.count(".tar") and server.count("train.index.safetensors") <= 2
    first, second = (tensors(tmp_path / name, 4) for name in ("local", "remote"))
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


def test_a_url_without_shards_is_one_sentence(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tmp_path)
    with (
        http_server(tmp_path) as server,
        pytest.raises(UserError, match=r"no shards in http://127.0.0.1:\d+/x \(data.root\)"),
    ):
        train(recipe, tmp_path / "run", data__root=f"{server.url}/x")
    with pytest.raises(UserError, match=r"^pipe:cat x is no place for shards"):
        train(recipe, tmp_path / "run", data__root="pipe:cat x")
