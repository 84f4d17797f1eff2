"""Shards behind a URL: read in parts, through faults, by HTTP and S3, with nothing else opened."""

from __future__ import annotations

import json
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from servers import Server, http_server, raw_server
from tiny_shards import Tiny, write_shards

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import remote, transport
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
    store = open_remote(server.url)
    assert store.read_range("data.tar", 0, len(DATA)) == DATA
    assert store.read("data.tar", limit=len(DATA)) == DATA
    assert server.sent <= 2 * len(DATA)  # not a byte twice


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


def test_a_dead_server_is_not_waited_for_again_for_every_block(server: Server) -> None:
    store = open_remote(server.url)
    store.read_range("data.tar", 0, 10)
    server.fault = lambda number, path: 500
    with pytest.raises(SampleError, match="times in a row"):
        store.read_range("data.tar", 0, 10)
    before = len(server.requests)
    for _ in range(3):
        with pytest.raises(SampleError, match="answers 500, still"):
            store.read_range("data.tar", 20, 10)
    assert len(server.requests) == before + 3
    server.fault = lambda number, path: None
    store.read_range("data.tar", 0, 10)  # it is back: now there is patience again
    server.fault = lambda number, path: 500 if number % 2 else None
    assert store.read_range("data.tar", 0, len(DATA)) == DATA


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


def test_a_server_without_ranges_is_not_read_in_vain(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served" / "large.tar").write_bytes(bytes(64 << 20))
    server.fault = lambda number, path: "whole"
    store = open_remote(server.url)
    for offset in (0, 4096):
        with pytest.raises(SampleError, match="does not serve parts of files"):
            store.read_range("large.tar", offset, 10)
    assert server.sent == 0  # no body was sent to its end
    monkeypatch.setattr(remote, "PIECE", len(DATA))
    assert store.read("data.tar", limit=4 * len(DATA)) == DATA  # once, though a whole piece long
    with pytest.raises(UserError, match=r"large.tar is larger than 1,000 bytes"):
        store.read("large.tar", limit=1000)


HEAD = b"HTTP/1.1 206 Partial Content\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "answer, said",
    [
        (HEAD + b"Content-Range: bytes 500-509/1000\r\n\r\n0123456789", "another part"),
        (HEAD + b"Content-Range: bytes 0-99/1000\r\n\r\n" + bytes(100), "another part"),
        (HEAD + b"\r\n0123456789", "another part"),
        (HEAD + b"Content-Range: bytes 0-9/10\r\n\r\n", "cut, 6 times"),
        (b"\0\xff what\r\n\r\n", "cut, 6 times"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "none that can be asked"),
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", "none that can be asked"),
    ],
)
def test_answers_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    answers = raw_server(lambda connection, begin: connection.sendall(answer))
    with answers as url, pytest.raises(SampleError, match=said):
        open_remote(url).read_range("data.tar", 0, 10)


def test_a_server_that_trickles_does_not_hold_a_request_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trickle(connection: socket.socket, begin: int) -> None:
        part = f"bytes {begin}-999999/1000000"
        connection.sendall(HEAD + f"Content-Range: {part}\r\n\r\n".encode())
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.01)

    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "FIRST_ATTEMPTS", 2)
    monkeypatch.setattr(remote, "SMALLEST", 1_000_000)  # the server knows nothing less
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 0.1)
    with raw_server(trickle) as url, pytest.raises(SampleError, match="takes too long"):
        open_remote(url).read_range("data.tar", 0, 1_000_000)


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
    server.fault = lambda number, path: 404
    with pytest.raises(FileNotFoundError) as missing:
        store.read("data.tar", limit=10)
    said.append(str(missing.value))
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


@pytest.mark.parametrize("url", ["s3://key:pass123@bucket/x", "gs://bucket/x?token=pass123"])
def test_secrets_that_a_scheme_does_not_take_are_refused_unsaid(url: str) -> None:
    with pytest.raises(UserError, match="password or query") as error:
        open_remote(url)
    assert "pass123" not in str(error.value)


@pytest.mark.parametrize("url", ["http://[bad/x", "http://h:99999/x", "https:///x", "s3:bucket"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(UserError, match="names no host or bucket"):
        open_remote(url)


def test_an_address_of_version_6_is_no_chain() -> None:
    assert open_remote("http://[::1]:8000/x/").where("f") == "http://[::1]:8000/x/f"


@pytest.mark.parametrize("scheme, package", [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    loaded = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(loaded, scheme, raising=False)
    with pytest.raises(UserError, match=rf"{package}; run `pip install {package}`"):
        open_remote(f"{scheme}://bucket/x").has("manifest.json")


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


@pytest.fixture
def bucket(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], RemoteStore]:
    """Our file server in place of S3: it knows enough to be read from, and fails by plan."""
    pytest.importorskip("s3fs")
    (tmp_path / "served" / "bucket").mkdir()
    (tmp_path / "served" / "bucket" / "data.tar").write_bytes(DATA)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return lambda: open_remote("s3://bucket")


@pytest.mark.parametrize("fault", [500, 503, "cut"])
def test_what_fails_for_a_moment_in_s3_is_tried_again(
    server: Server, bucket: Callable[[], RemoteStore], fault: str | int
) -> None:
    server.fault = lambda number, path: fault if number % 3 else None
    assert bucket().read_range("data.tar", 0, len(DATA)) == DATA


def test_s3_that_cuts_every_answer_is_read_in_small_pieces(
    server: Server, bucket: Callable[[], RemoteStore]
) -> None:
    server.fault = lambda number, path: "cut 100000"
    assert bucket().read_range("data.tar", 0, len(DATA)) == DATA


def test_s3_is_asked_once_an_attempt_and_once_for_good(
    server: Server, bucket: Callable[[], RemoteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = lambda number, path: 503
    with pytest.raises(SampleError, match=r"answers 503 .*6 times in a row"):
        bucket().read_range("data.tar", 0, 10)
    assert len(server.requests) == remote.FIRST_ATTEMPTS
    server.fault = lambda number, path: 403
    with pytest.raises(SampleError, match="answers 403"):
        bucket().read_range("data.tar", 0, 10)
    assert len(server.requests) == remote.FIRST_ATTEMPTS + 1
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(UserError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as error:
        bucket().has("data.tar")
    assert "FSSPEC_S3" in str(error.value)
    server.fault = lambda number, path: None
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True})  # as FSSPEC_S3 sets it
    assert bucket().read_range("data.tar", 0, 10) == DATA[:10]


def test_a_hub_is_asked_for_no_more_than_is_wanted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    served = tmp_path / "served"
    about = {"api/datasets/me/set": {"id": "me/set", "sha": "0" * 40, "private": False}}
    listed = {"type": "file", "path": "x/data.tar", "size": len(DATA), "oid": "0" * 40}
    about["api/datasets/me/set/tree/main/x"] = [listed]
    server.bodies = {f"/{path}": json.dumps(value).encode() for path, value in about.items()}
    (served / "datasets/me/set/resolve/main/x").mkdir(parents=True)
    (served / "datasets/me/set/resolve/main/x/data.tar").write_bytes(DATA)
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": server.url})
    store = open_remote("hf://datasets/me/set/x")
    before = server.sent
    assert store.read_range("data.tar", 1000, 5000) == DATA[1000:6000]
    assert server.sent - before < 5000 + 1000  # the part, and what the hub says of itself
    assert not store.has("other.tar")
    server.fault = lambda number, path: 403
    asked = len(server.requests)
    with pytest.raises(SampleError, match="answers 403"):
        store.read_range("data.tar", 0, 10)
    assert len(server.requests) == asked + 1


def upload(tiny: Tiny, bucket: str, prefix: str) -> None:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    for file in tiny.root.iterdir():
        client.upload_file(str(file), bucket, f"{prefix}/{file.name}")
