"""Shards behind a URL: read in parts, through faults, by HTTP and S3, with nothing else opened."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, http_server
from tiny_shards import Tiny, write_shards

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import remote
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.remote import RemoteStore, open_remote
from srae_dist.data.store import LocalStore, open_store

DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "data.tar").write_bytes(DATA)
    with http_server(tmp_path / "served") as running:
        yield running


def test_parts_and_whole_files(server: Server) -> None:
    store = open_remote(server.url)
    assert store.read_range("data.tar", 1000, 5000) == DATA[1000:6000]
    assert store.read("data.tar", limit=1 << 20) == DATA
    assert store.has("data.tar") and not store.has("other.tar")
    assert store.where("data.tar") == f"{server.url}/data.tar"
    sent = pickle.loads(pickle.dumps(store))
    assert sent.read_range("data.tar", 0, 3) == DATA[:3]


def test_a_file_of_whole_pieces_and_one_too_large(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_remote(server.url)
    monkeypatch.setattr(remote, "PIECE", len(DATA) // 4)
    assert store.read("data.tar", limit=len(DATA)) == DATA
    with pytest.raises(UserError, match=r"data.tar is larger than 1,000 bytes"):
        store.read("data.tar", limit=1000)


@pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
def test_what_fails_for_a_moment_is_tried_again(server: Server, fault: str | int) -> None:
    server.fault = lambda number, path: fault if number % 3 else None
    store = open_remote(server.url)
    assert store.read_range("data.tar", 0, len(DATA)) == DATA
    assert store.read("data.tar", limit=1 << 20) == DATA


def test_a_server_that_always_cuts_is_read_to_the_end_without_starting_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SMALLEST", 1 << 14)
    server.fault = lambda number, path: "cut 70000"
    assert open_remote(server.url).read_range("data.tar", 0, len(DATA)) == DATA
    assert server.sent < 4 * len(DATA)


def test_a_server_that_never_answers_well_is_given_up(server: Server) -> None:
    server.fault = lambda number, path: 500
    store = open_remote(server.url)
    with pytest.raises(SampleError, match=f"answers 500, {remote.FIRST_ATTEMPTS} times in a row"):
        store.read_range("data.tar", 0, 10)
    assert len(server.requests) == remote.FIRST_ATTEMPTS
    server.fault = lambda number, path: None
    store.read_range("data.tar", 0, 10)  # it has answered: now there is more patience
    server.fault = lambda number, path: 500
    with pytest.raises(SampleError, match=f"answers 500, {remote.ATTEMPTS} times in a row"):
        store.read_range("data.tar", 0, 10)
    with pytest.raises(UserError, match=r"data.tar cannot be read: the server answers 500"):
        store.read("data.tar", limit=1 << 20)


@pytest.mark.parametrize("status, said", [(403, "answers 403"), (401, "answers 401")])
def test_what_fails_for_good_is_not_tried_again(server: Server, status: int, said: str) -> None:
    server.fault = lambda number, path: status
    with pytest.raises(SampleError, match=said):
        open_remote(server.url).read_range("data.tar", 0, 10)
    assert len(server.requests) == 1


def test_missing_files_and_short_ones(server: Server) -> None:
    store = open_remote(server.url)
    with pytest.raises(SampleError, match="no such file"):
        store.read_range("other.tar", 0, 10)
    with pytest.raises(FileNotFoundError):
        store.read("other.tar", limit=10)
    assert len(server.requests) == 2
    with pytest.raises(SampleError, match="ends before"):
        store.read_range("data.tar", len(DATA) - 5, 10)
    with pytest.raises(SampleError, match="ends before"):
        store.read_range("data.tar", len(DATA) + 5, 10)


def test_a_server_without_ranges_is_told_so(server: Server) -> None:
    server.fault = lambda number, path: "whole"
    store = open_remote(server.url)
    with pytest.raises(SampleError, match="does not serve parts of files"):
        store.read_range("data.tar", 0, 10)
    assert store.read("data.tar", limit=1 << 20) == DATA  # small files can be had whole


def test_a_closed_port_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/shards/manifest.json cannot be read"):
        load_manifest(open_store("http://127.0.0.1:9/shards"))


def test_secrets_are_never_said(server: Server) -> None:
    url = server.url.replace("http://", "http://me:pass123@") + "/?X-Signature=sig456"
    store = open_remote(url)
    assert store.read_range("data.tar", 0, 2) == DATA[:2]
    assert server.requests[-1].endswith("?X-Signature=sig456")
    said = [store.name, store.where("x"), repr(store)]
    server.fault = lambda number, path: 403
    with pytest.raises(SampleError) as error:
        store.read_range("data.tar", 0, 2)
    said.append(str(error.value))
    assert not any("pass123" in text or "sig456" in text for text in said)


@pytest.mark.parametrize(
    "location",
    [
        "pipe:cat /etc/passwd",
        "pipe://x",
        "file:///etc",
        "ftp://host/x",
        "local:///etc",
        "memory://x",
        "github://a:b@c/",
        "simplecache::http://h/x",
        "zip://x.zip::http://h/x",
        "http://h/x::file:///etc",
        "s3:///key",
        "http:",
    ],
)
def test_unknown_places_are_refused_before_anything_is_opened(location: str) -> None:
    with pytest.raises(UserError, match=r"is no place for shards|names no host or bucket"):
        open_store(location)


@pytest.mark.parametrize("path", ["shards/data", "/shards", "./a:b", "C:\\shards", "C:/shards"])
def test_paths_are_paths(path: str) -> None:
    assert isinstance(open_store(path), LocalStore)


def test_s3_through_the_usual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
        tiny = write_shards(tmp_path / "shards")
        upload(tiny, "bucket", "some/shards")
        store = open_store("s3://bucket/some/shards")
        manifest = load_manifest(store)
        assert manifest.domains == ("photo", "anime", "clay")
        assert len(load_index(store, manifest.splits["train"], 3)) == 16
        assert isinstance(store, RemoteStore)
        tar = (tiny.root / "train-000000.tar").read_bytes()
        assert store.read_range("train-000000.tar", 512, 700) == tar[512:1212]
        with pytest.raises(SampleError, match="no such file"):
            store.read_range("train-000009.tar", 0, 5)
        with pytest.raises(UserError, match=r"s3://bucket/elsewhere is not a shard folder"):
            load_manifest(open_store("s3://bucket/elsewhere"))
    finally:
        server.stop()


def upload(tiny: Tiny, bucket: str, prefix: str) -> None:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    for file in tiny.root.iterdir():
        client.upload_file(str(file), bucket, f"{prefix}/{file.name}")
