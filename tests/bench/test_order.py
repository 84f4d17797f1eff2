"""`srae-dist bench order`: the same keys for any ranks and workers, from any step on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from srae_dist.core.errors import UserError
from srae_dist.data.manifest import load_index, load_manifest


def keys(shards: Path, tmp_path: Path, *options: object) -> Any:
    from srae_dist.cli import app

    file = tmp_path / "order.json"
    arguments = ["bench", "order", str(shards), "--json", str(file), *map(str, options)]
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert re.search(r"sha256 of all keys +[0-9a-f]{64}", result.output)
    return json.loads(file.read_text())


def test_ranks_workers_and_starts_change_nothing(face_shards: Path, tmp_path: Path) -> None:
    wanted = keys(face_shards, tmp_path, "--steps", 6, "--global-batch", 16, "--window", 8)
    assert [len(batch) for batch in wanted] == [16] * 6
    for ranks, workers in ((2, 0), (4, 0), (1, 1), (2, 2)):
        options = ["--ranks", ranks, "--workers", workers, "--global-batch", 16, "--window", 8]
        assert keys(face_shards, tmp_path, "--steps", 6, *options) == wanted
    later = keys(
        face_shards, tmp_path, "--start", 4, "--steps", 2, "--global-batch", 16, "--window", 8
    )
    assert later == wanted[4:]
    assert keys(face_shards, tmp_path, "--steps", 1, "--seed", 1) != wanted[:1]


def test_natural_order_holds_each_sample_once_an_epoch(face_shards: Path, tmp_path: Path) -> None:
    manifest = load_manifest(face_shards)
    index = load_index(face_shards, manifest.splits["train"], 2)
    every = {index.key(row) for row in range(len(index))}
    epoch = keys(face_shards, tmp_path, "--steps", 6, "--global-batch", 16, "--balance", "natural")
    assert len(index) == 96 and sorted(key for batch in epoch for key in batch) == sorted(every)


def test_ranks_that_do_not_fit_are_refused(face_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be shared equally by 3 ranks"):
        keys(face_shards, tmp_path, "--ranks", 3)
    with pytest.raises(UserError, match=r"6 ranks cannot share the 8 lanes .*data.lanes = 6"):
        keys(face_shards, tmp_path, "--ranks", 6, "--global-batch", 48)
