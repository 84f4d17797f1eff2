"""Shards behind a URL are translated as shards here are, whatever the network does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srae_dist.core.errors import ExitCode
from srae_dist.data import blocks, remote
from srae_dist.data.manifest import BLOCK
from srae_dist.data.opened import open_split
from srae_dist.data.shard_files import Unreachable, files_of
from tests.data.servers import Fault, Server, http_server
from tests.data.tiny_shards import Tiny, write_shards
from tests.translation.tiny import SIZE, files, lines, save_run, translate

ROOT = Path(__file__).parents[2]
BIG = (("notes.bin", bytes(700_000)),)  # so that a shard has several blocks


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("remote") / "shards"
    return write_shards(root, samples=(4, 3, 2), size=SIZE, extra=BIG)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("model") / "run", steps=(3,))


@pytest.fixture
def server(shards: Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(blocks, "SPOILT_PAUSE", 0.001)
    monkeypatch.setattr(blocks, "FORGET", 0.0)
    with http_server(shards.root) as running:
        yield running


def images_of(out: Path) -> dict[str, bytes]:
    """What was made, without the job's own description, which names the input's place."""
    return {name: data for name, data in files(out).items() if name != "translation.json"}


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_url_and_a_folder_give_the_same_bytes(
    server: Server, shards: Tiny, run: Path, tmp_path: Path, kind: str
) -> None:
    made = ("--to", "anime", "--from", "photo", "--out-kind", kind, "--batch", 1, "--out")
    assert translate(run, shards.root, *made, tmp_path / "here") == ExitCode.DONE
    url = (run, server.url, "--cache-dir", tmp_path / "cache")
    assert translate(*url, *made, tmp_path / "there") == ExitCode.DONE
    assert images_of(tmp_path / "there") == images_of(tmp_path / "here")
    fetched = server.count(".tar")
    assert fetched == 6  # blocks of the two shards that have photos, each once
    assert translate(*url, *made, tmp_path / "again") == ExitCode.DONE
    assert server.count(".tar") == fetched


def test_a_network_that_fails_now_and_then_changes_nothing(
    server: Server, shards: Tiny, run: Path, tmp_path: Path
) -> None:
    def fault(number: int, path: str) -> Fault:
        faults: tuple[Fault, ...] = (503, None, "cut", None, None, "flip", None, None, None)
        return faults[number % len(faults)] if path.endswith(".tar") else None

    server.fault = fault
    made = ("--to", "anime", "--batch", 1, "--out")
    assert translate(run, shards.root, *made, tmp_path / "here") == ExitCode.DONE
    url = (run, server.url, "--cache-dir", tmp_path / "cache")
    assert translate(*url, *made, tmp_path / "there") == ExitCode.DONE
    assert images_of(tmp_path / "there") == images_of(tmp_path / "here")


def test_a_shard_that_cannot_be_had_stops_the_job_and_the_same_command_goes_on(
    server: Server,
    shards: Tiny,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = ("--to", "anime", "--batch", 1, "--out")
    assert translate(run, shards.root, *made, tmp_path / "here") == ExitCode.DONE
    url = (run, server.url, "--cache-dir", tmp_path / "cache")
    server.fault = lambda number, path: 404 if path.endswith("000001.tar") else None
    assert translate(*url, *made, tmp_path / "there") == ExitCode.USER
    said = capsys.readouterr().err
    assert f"{server.url}/train-000001.tar cannot be read" in said and "go on" in said
    assert not (tmp_path / "there/translations.jsonl").exists()  # none is given up as unreadable
    server.fault = lambda number, path: None
    assert translate(*url, *made, tmp_path / "there") == ExitCode.DONE
    assert "An earlier run was stopped" in capsys.readouterr().out
    assert images_of(tmp_path / "there") == images_of(tmp_path / "here")


@pytest.mark.skipif(os.name == "nt", reason="gloo ranks")
def test_of_two_ranks_one_fails_and_the_other_finishes_its_share(
    server: Server, shards: Tiny, run: Path, tmp_path: Path
) -> None:
    server.fault = lambda number, path: 404 if path.endswith("000001.tar") else None  # rank 1's
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", "docs/launch/cpu_2_ranks.yaml", "--main_process_port", "0"]
    command += ["-m", "srae_dist.batch_translate", str(run), server.url, "--to", "anime"]
    command += ["--batch", "1", "--precision", "fp32", "--cache-dir", str(tmp_path / "cache")]
    command += ["--out", str(tmp_path / "there")]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    done = subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode != 0
    assert done.stderr.count(f"error: {server.url}/train-000001.tar cannot be read") == 1
    assert "Stopped (another rank failed or was stopped); 6 images are done and kept" in done.stdout
    assert "gloo" not in done.stderr  # nor does anyone break off
    server.fault = lambda number, path: None
    made = ("--to", "anime", "--batch", 1, "--out")
    url = (run, server.url, "--cache-dir", tmp_path / "cache")
    assert translate(*url, *made, tmp_path / "there") == ExitCode.DONE
    assert len(lines(tmp_path / "there/translations.jsonl")) == 9


def test_references_behind_a_url(server: Server, shards: Tiny, run: Path, tmp_path: Path) -> None:
    made = (run, shards.root, "--to", "clay", "--from", "photo", "--batch", 1)
    made += ("--cache-dir", tmp_path / "cache", "--references")
    assert translate(*made, shards.root, "--out", tmp_path / "here") == ExitCode.DONE
    assert translate(*made, server.url, "--out", tmp_path / "there") == ExitCode.DONE
    assert images_of(tmp_path / "there") == images_of(tmp_path / "here")
    codes = {str(line["code"]) for line in lines(tmp_path / "there/translations.jsonl")}
    assert all(".tar/" in code for code in codes)


def test_references_that_cannot_be_had_are_not_replaced_by_others(
    server: Server, shards: Tiny, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fault = lambda number, path: 503 if path.endswith(".tar") else None
    made = (run, shards.root, "--to", "clay", "--cache-dir", tmp_path / "cache")
    code = translate(*made, "--references", server.url, "--out", tmp_path / "out")
    assert code == ExitCode.USER
    assert "cannot be read" in capsys.readouterr().err


def test_secrets_of_the_url_are_kept(
    server: Server, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("//", "//ann:hunter2@") + "?sig=hunter3"
    server.fault = lambda number, path: 503 if "000001.tar" in path else None
    made = (run, url, "--to", "anime", "--cache-dir", tmp_path / "cache", "--out", tmp_path / "out")
    assert translate(*made) == ExitCode.USER
    server.fault = lambda number, path: None
    assert translate(*made) == ExitCode.DONE
    output = capsys.readouterr()
    written = b"".join(files(tmp_path / "out").values()).decode("latin-1")
    for secret in ("hunter2", "hunter3", "ann:"):
        assert secret not in output.out + output.err + written
    assert any("sig=hunter3" in path for path in server.requests)  # and used


def test_what_follows_is_fetched_ahead(server: Server, tmp_path: Path) -> None:
    opened = open_split(server.url, "train", cache_dir=tmp_path / "cache")
    assert opened.remote is not None
    ahead = files_of(opened)
    with ahead.open(0, in_order=True) as file:
        assert len(file.read(9)) == 9
        digests = [opened.remote._digest(block) for block in opened.remote.blocks(0)]
        assert len(digests) == 3
        deadline = time.monotonic() + 30
        while not all(map(opened.remote.cache.has, digests)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not opened.remote.cache.has(opened.remote._digest(3))  # another rank's, maybe


def test_a_remote_shard_is_a_file(server: Server, shards: Tiny, tmp_path: Path) -> None:
    opened = open_split(server.url, "train", cache_dir=tmp_path / "cache")
    whole = (shards.root / "train-000001.tar").read_bytes()
    with files_of(opened).open(1) as file:
        assert file.seek(-5, 2) == len(whole) - 5
        assert file.read() == whole[-5:] and file.read(1) == b""
        file.seek(BLOCK - 3)
        assert (file.read(9), file.tell()) == (whole[BLOCK - 3 : BLOCK + 6], BLOCK + 6)
        file.seek(0)
        assert file.read() == whole
    server.fault = lambda number, path: 503
    with files_of(opened).open(2) as file, pytest.raises(Unreachable, match="cannot be read"):
        file.read(1)
