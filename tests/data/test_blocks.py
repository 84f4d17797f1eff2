"""Blocks of remote shards: fetched once, proved by their hash, bounded, shared; and a whole loader
over HTTP that gives what a local one gives."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from servers import Server, http_server
from tiny_shards import Tiny, write_shards

from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.types import Batch
from srae_dist.data import block_cache, blocks, digests, lookahead, manifest, prefetch, remote
from srae_dist.data.block_cache import BlockCache, default_cache_folder
from srae_dist.data.blocks import RemoteShards
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import OpenSplit, open_split

SMALL = 4096  # bytes of a block in these tests


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tiny, Server]]:
    for module in (manifest, block_cache, blocks, digests, lookahead):
        monkeypatch.setattr(module, "BLOCK", SMALL)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(blocks, "SPOILT_PAUSE", 0.001)
    tiny = write_shards(tmp_path / "shards", samples=(40, 60, 30))
    with http_server(tiny.root) as server:
        yield tiny, server


def opened(server: Server, folder: Path, *, cache_gb: float = 1.0) -> OpenSplit:
    return open_split(server.url, "train", cache_dir=folder, cache_gb=cache_gb)


def remote_shards(split: OpenSplit) -> RemoteShards:
    assert isinstance(split.shards, RemoteShards)
    return split.shards


def batches(split: OpenSplit, *, start: int = 0, stop: int = 8, **options: object) -> list[Batch]:
    given = {"workers": 0, "substitute": False, **options}
    order = make_order(split, seed=1, global_batch=12, balance="natural", lanes=None, window=8)
    return list(
        make_loader(
            split,
            order,
            rank=0,
            world=1,
            micro_batch=12,
            start_step=start,
            stop_step=stop,
            pin=False,
            **given,
        )
    )


def test_a_remote_loader_gives_what_a_local_one_gives(served, tmp_path):
    tiny, server = served
    local = batches(open_split(tiny.root, "train"), stop=24)  # more than two epochs
    split = opened(server, tmp_path / "cache")
    for mine, theirs in zip(batches(split, stop=24), local, strict=True):
        assert mine.keys == theirs.keys and (mine.images == theirs.images).all()
    tars = sum(shard.bytes for shard in tiny.split.shards)
    assert remote_shards(split).fetched <= tars  # no block twice
    before = server.sent
    again = opened(server, tmp_path / "cache")
    batches(again, stop=24)
    assert remote_shards(again).fetched == 0 and server.sent - before < 50_000  # the index alone


def test_worker_processes_read_remote_shards_too(served, tmp_path, monkeypatch):
    tiny, server = served  # a worker is a new process, with blocks of the usual size
    for module in (manifest, block_cache, blocks, digests, lookahead):
        monkeypatch.setattr(module, "BLOCK", 1 << 20)
    write_shards(tiny.root, samples=(40, 60, 30))
    local = [batch.keys for batch in batches(open_split(tiny.root, "train"))]
    split = opened(server, tmp_path / "cache")
    assert [batch.keys for batch in batches(split, workers=2)] == local


def test_a_resumed_run_reads_at_most_the_open_windows(served, tmp_path, monkeypatch):
    _, server = served
    split = opened(server, tmp_path / "cache")
    order = make_order(split, seed=1, global_batch=10, balance="natural", lanes=10, window=4)
    start = 3 * 13 + 5  # in the second window of four, of epoch 3: a lane is 13 long
    rows = np.concatenate([order.batch(step) for step in range(start - 1, start + 3)])
    window = {
        (int(split.index.shard[row]), int(split.index.offset[row]) // SMALL) for row in rows
    } | {
        (
            int(split.index.shard[row]),
            int(split.index.offset[row] + split.index.size[row] - 1) // SMALL,
        )
        for row in rows
    }
    loader = make_loader(
        split, order, rank=0, world=1, micro_batch=10, start_step=start, stop_step=10**6,
        workers=0, pin=False,
    )  # fmt: skip
    next(loader)
    time.sleep(0.2)
    loader.close()
    assert 0 < remote_shards(split).fetched <= len(window) * SMALL


def fetcher() -> BaseProcess:
    (found,) = [p for p in multiprocessing.active_children() if p.name == "prefetch"]
    return found


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    assert done()


def endless(split: OpenSplit) -> Generator[Batch, None, None]:
    order = make_order(split, seed=1, global_batch=12, balance="natural", lanes=None, window=8)
    return make_loader(
        split, order, rank=0, world=1, micro_batch=12, start_step=0, stop_step=10**6, workers=0,
        pin=False,
    )  # fmt: skip


def test_a_process_of_its_own_fetches_and_what_it_proved_is_proved(served, tmp_path, monkeypatch):
    tiny, server = served
    server.delay = 0.05
    split = opened(server, tmp_path / "cache")
    shards, proved = remote_shards(split), []
    ahead = prefetch.FetchProcess(shards)
    monkeypatch.setattr(shards, "_download", lambda block, digest: pytest.fail("fetched here"))
    monkeypatch.setattr(shards, "_checked", _noting(shards, proved))
    ahead._here.close()  # its threads, which would have begun here
    ahead._here = None
    ahead.want(list(range(sum(tiny.split.block_counts()))))
    firsts = set(shards._bases)

    def all_told() -> bool:
        ahead.listen()
        return firsts <= shards._proved and shards.fetched >= len(firsts) * SMALL

    try:
        wait(all_told)
    finally:
        ahead.close()
    for number in range(len(tiny.split.shards)):
        shards.read(number, 0, 10)
    assert len(proved) == len(tiny.split.shards) and all(proved)
    wait(lambda: not ahead.process.is_alive())


def _noting(shards: RemoteShards, seen: list[bool]) -> Callable[[int, str], int | None]:
    checked = shards._checked

    def look(block: int, digest: str) -> int | None:
        seen.append(block in shards._proved)
        return checked(block, digest)

    return look


def test_reading_goes_on_when_the_process_that_fetches_is_killed(served, tmp_path):
    tiny, server = served
    local = [batch.keys for batch in batches(open_split(tiny.root, "train"), stop=24)]
    with closing(endless(opened(server, tmp_path / "cache"))) as loader:
        found = [next(loader).keys for _ in range(6)]
        ahead = fetcher()
        ahead.kill()
        ahead.join()
        with pytest.warns(UserWarning, match="fetches shards ahead was killed"):
            found += [next(loader).keys for _ in range(18)]
    assert found == local


def test_threads_go_on_when_the_process_dies_before_it_runs(served, tmp_path):
    _, server = served
    shards = remote_shards(opened(server, tmp_path / "cache"))
    ahead = prefetch.FetchProcess(shards)
    with closing(ahead):
        ahead.process.kill()
        ahead.process.join()
        with contextlib.suppress(EOFError):
            ahead._listening.recv()
        with pytest.warns(UserWarning, match="was killed"):
            ahead.listen()
        ahead.want([2])
        wait(lambda: shards.cache.has(shards._digest(2)))


def test_a_closed_loader_leaves_no_process_and_no_claim(served, tmp_path):
    _, server = served
    loader = endless(opened(server, tmp_path / "cache"))
    next(loader)
    ahead = fetcher()
    server.delay = 60  # what is under way never comes
    time.sleep(0.2)
    loader.close()
    wait(lambda: not ahead.is_alive())
    wait(lambda: not list((tmp_path / "cache").rglob("*.partial")))


def test_closed_before_its_process_runs_leaves_no_claim_either(served, tmp_path):
    _, server = served
    ahead = prefetch.FetchProcess(remote_shards(opened(server, tmp_path / "cache")))
    server.delay = 20
    ahead.want([0, 1])
    claims = (tmp_path / "cache").rglob
    wait(lambda: len(list(claims("*.partial"))) == 2)
    ahead.close()
    assert not list(claims("*.partial"))
    wait(lambda: not ahead.process.is_alive())


def test_wrong_bytes_are_never_used(served, tmp_path):
    tiny, server = served
    server.fault = lambda number, path: "flip" if path.endswith("000001.tar") else None
    split = opened(server, tmp_path / "cache")
    with pytest.raises(UserError, match=r"000001.tar cannot be read: bytes .* are not what the in"):
        batches(split, stop=20)
    found = batches(split, stop=20, substitute=True)
    bad = {item.key for batch in found for item in batch.bad}
    assert bad and all(40 <= int(key) < 100 for key in bad)  # the samples of that shard
    assert all((b.images.numpy() == tiny.images[list(map(int, b.keys))]).all() for b in found)


def test_a_shard_that_stays_wrong_is_waited_for_once(served, tmp_path, monkeypatch):
    _, server = served
    server.fault = lambda number, path: "flip" if path.endswith("000001.tar") else None
    shards = opened(server, tmp_path / "cache").remote
    pauses: list[float] = []
    monkeypatch.setattr(blocks.time, "sleep", pauses.append)
    first = shards._bases[1]
    for block in range(first, shards._bases[2]):
        with pytest.raises(SampleError, match="not what the index says"):
            shards.fetch(block)
    assert shards._bases[2] - first > 2
    assert len(pauses) == blocks.SPOILT - 1


def test_bytes_that_are_wrong_for_a_while_are_asked_for_again(served, tmp_path):
    """As from a proxy that has caught half of a new file."""
    tiny, server = served
    local = [batch.keys for batch in batches(open_split(tiny.root, "train"))]
    asked: dict[str, int] = {}

    def spoilt(number, path):
        asked[path] = asked.get(path, 0) + 1
        return "flip" if path.endswith(".tar") and asked[path] < blocks.SPOILT else None

    server.fault = spoilt
    assert [b.keys for b in batches(opened(server, tmp_path / "cache"))] == local
    assert max(asked.values()) >= blocks.SPOILT


def test_a_missing_shard_and_a_flapping_server(served, tmp_path):
    tiny, server = served
    local = [batch.keys for batch in batches(open_split(tiny.root, "train"))]
    server.fault = lambda number, path: {0: 500, 2: "cut"}.get(number % 5)
    assert [b.keys for b in batches(opened(server, tmp_path / "cache"))] == local
    server.fault = lambda number, path: 404 if path.endswith("000002.tar") else None
    with pytest.raises(UserError, match=r"000002.tar cannot be read: there is no such file"):
        batches(opened(server, tmp_path / "other"), stop=20)


def test_a_spoilt_block_of_the_cache_is_fetched_again(served, tmp_path):
    _, server = served
    split = opened(server, tmp_path / "cache")
    good = split.shards.read(0, 600, 500)
    split.shards.close()
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    (file,) = [path for path in files if path.stat().st_size == SMALL]  # the index is larger
    file.write_bytes(b"x" * SMALL)
    assert split.shards.read(0, 600, 500) == good
    assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


def test_the_cache_is_bounded_and_what_is_used_stays(tmp_path):
    cache = BlockCache(tmp_path, limit=20_000)
    for number in range(200):
        data = number.to_bytes(4, "big") * 250
        digest = hashlib.sha256(data).hexdigest()
        with cache.claim(digest) as file:
            file.write_bytes(data)
        os.utime(cache.path(digest), (number, number))
    cache.sweep()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ""]
    sizes = [path.stat().st_size for path in kept if path.name != ".lock"]
    assert sum(sizes) == 20_000
    assert cache.get(digest) == data  # the last one
    first = hashlib.sha256(bytes(4) * 250).hexdigest()
    assert not cache.has(first) and cache.get(first) is None


SHARE = """
import sys, hashlib
from pathlib import Path
from srae_dist.data.block_cache import BlockCache
cache, wrote = BlockCache(Path(sys.argv[1]), limit=10**9), 0
print("ready", flush=True); sys.stdin.readline()
for number in range(300):
    data = number.to_bytes(4, "big") * 2500
    with cache.claim(hashlib.sha256(data).hexdigest()) as file:
        if file is not None:
            file.write_bytes(data)
            wrote += 1
    assert cache.get(hashlib.sha256(data).hexdigest()) == data
print(wrote)
"""


def test_processes_share_a_cache_and_none_does_another_s_work(tmp_path):
    command = [sys.executable, "-c", SHARE, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    outputs = []
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(int(process.communicate(timeout=60)[0]))
    assert sum(outputs) == 300


def test_an_abandoned_claim_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(block_cache, "PATIENCE", 0.05)
    cache, digest = BlockCache(tmp_path, limit=10**6), hashlib.sha256(b"data").hexdigest()
    cache.path(digest).parent.mkdir(parents=True)
    cache.path(digest).with_name(f"{digest}.partial").touch()  # of a process that was killed
    with cache.claim(digest) as file:
        file.write_bytes(b"data")
    assert cache.get(digest) == b"data"


KILLED = """
import os, sys
from pathlib import Path
from srae_dist.data.block_cache import BlockCache
with BlockCache(Path(sys.argv[1]), limit=10**6).claim(sys.argv[2]):
    os._exit(1)
"""


def test_the_claim_of_a_process_that_was_killed_is_taken_over_at_once(tmp_path):
    digest = hashlib.sha256(b"data").hexdigest()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), digest], check=False)
    assert list(tmp_path.rglob("*.partial"))
    begun = time.monotonic()
    with BlockCache(tmp_path, limit=10**6).claim(digest) as file:
        file.write_bytes(b"data")
    assert time.monotonic() - begun < block_cache.PATIENCE / 10


def test_a_claim_whose_process_was_killed_before_it_signed_is_taken_over_soon(tmp_path):
    digest = hashlib.sha256(b"data").hexdigest()
    cache = BlockCache(tmp_path, limit=10**6)
    cache.path(digest).parent.mkdir(parents=True)
    cache.path(digest).with_name(f"{digest}.partial").touch()
    begun = time.monotonic()
    with cache.claim(digest) as file:
        file.write_bytes(b"data")
    assert 0.5 < time.monotonic() - begun < block_cache.PATIENCE / 10


def test_a_cache_that_cannot_be_written_names_the_key(served, tmp_path):
    _, server = served
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"data\.cache_dir"):
        opened(server, tmp_path / "file").shards.read(0, 0, 10)


def test_a_missing_index_is_no_fault_of_the_cache(served, tmp_path):
    _, server = served
    server.fault = lambda number, path: 404 if "index" in path else None
    with pytest.raises(UserError, match=r"train.index.safetensors is missing") as error:
        open_split(f"{server.url}/?token=sig456", "train", cache_dir=tmp_path / "cache")
    assert "sig456" not in str(error.value)


def test_blocks_that_were_deleted_are_let_go(served, tmp_path):
    tiny, server = served
    shards = opened(server, tmp_path / "cache", cache_gb=SMALL / 1e9).shards
    for number, shard in enumerate(tiny.split.shards):
        for offset in range(0, shard.bytes, SMALL):
            shards.read(number, offset, 10)
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert sum(str(tmp_path) in link for link in links) == 16 < sum(tiny.split.block_counts())


def test_a_block_shortened_while_it_is_open_is_a_bad_sample(served, tmp_path):
    _, server = served
    shards = opened(server, tmp_path / "cache").shards
    shards.read(0, 0, 10)
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            os.truncate(file, 100)
    with pytest.raises(SampleError, match="shortened"):
        shards.read(0, 90, 20)


def test_the_folder_is_looked_at_once_in_a_while(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(BlockCache, "sweep", lambda self: looks.append(self))
    cache = BlockCache(tmp_path, limit=100 * block_cache._SWEEP)  # a look every 100 bytes
    monkeypatch.setattr(block_cache, "BLOCK", 1)
    for number in range(30):
        data = bytes([number]) * 10
        with cache.claim(hashlib.sha256(data).hexdigest()) as file:
            file.write_bytes(data)
    assert len(looks) == 3  # at the first block: earlier runs may have left too much; then two


def test_a_worker_s_user_error_stays_one_sentence(served, tmp_path):
    _, server = served
    split = opened(server, tmp_path / "cache")
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()
    with pytest.raises(UserError) as error:
        batches(split, workers=1)
    assert "data.cache_dir" in str(error.value) and "\n" not in str(error.value)


def test_the_default_folder_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = default_cache_folder()
    assert folder.parent.stat().st_mode & 0o077 == 0
    folder.parent.chmod(0o777)
    with pytest.raises(UserError, match="not this user's alone"):
        default_cache_folder()
    folder.parent.rmdir()
    folder.parent.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot be made"):
        default_cache_folder()
    folder.parent.unlink()
    folder.parent.symlink_to(tmp_path)
    with pytest.raises(UserError, match="not this user's alone"):
        default_cache_folder()


def test_shards_go_to_other_processes_and_images_may_span_blocks(served, tmp_path):
    tiny, server = served
    split = opened(server, tmp_path / "cache")
    tar = (tiny.root / "train-000000.tar").read_bytes()
    split.shards.read(0, 0, 10)
    sent = pickle.loads(pickle.dumps(split.shards))
    assert sent.read(0, 100, 3 * SMALL) == tar[100 : 100 + 3 * SMALL]
    with pytest.raises(SampleError, match="which cannot be"):
        sent.read(0, len(tar) - 5, 10)
