"""Stopped or killed at any moment, alone or in parts: the same command leads to the same bytes."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.plan import Form
from srae_dist.data.publish import Written
from srae_dist.data.records import Content, Record, shuffled
from srae_dist.data.workplace import Part
from srae_dist.data.writer import write
from tests.data.test_writer import FORM, Noise, bytes_of, run

posix = pytest.mark.skipif(os.name == "nt", reason="signals")


class Stops(Noise):
    """Is interrupted after 12 images."""

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        for record, content in zip(records, super().read(records), strict=True):
            if record.place == stop_at(12):
                raise KeyboardInterrupt
            yield content


class Dies(Noise):
    """Kills its process at one image."""

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        for record, content in zip(records, super().read(records), strict=True):
            if record.place == stop_at(12):
                os.kill(os.getpid(), signal.SIGKILL)
            yield content


def stop_at(position: int) -> str:
    return shuffled(Noise().records, seed=0)["train"][position].place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes that is left in peace."""
    out = tmp_path_factory.mktemp("whole")
    run(out, Noise())
    return bytes_of(out)


def begin(out: Path) -> None:
    """Be stopped when two of four shards are finished."""
    with pytest.raises(KeyboardInterrupt):
        run(out, Stops())
    assert not (out / "manifest.json").exists()
    finished = sorted(path.name for path in (out / ".partial").glob("*.tar"))
    assert finished == ["train-000000.tar", "train-000001.tar"]


def test_finished_shards_are_kept(tmp_path: Path, whole: dict[str, bytes]) -> None:
    begin(tmp_path)
    there = [path.stat() for path in (tmp_path / ".partial").glob("*.tar")]
    said: list[str] = []
    run(tmp_path, Noise(), tell=said.append)
    assert said == ["kept 2 of 4 shards that an earlier run finished."]
    assert bytes_of(tmp_path) == whole
    assert {s.st_ino for s in there} <= {p.stat().st_ino for p in tmp_path.glob("*.tar")}


def test_what_has_changed_is_made_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    said: list[str] = []
    cases = (
        (Noise(changed="a newer file"), FORM),
        (Noise(count=21), FORM),
        (Noise(), replace(FORM, quality=90)),
        (Noise(), replace(FORM, shards=5)),
        (Noise(domains=("b", "a")), FORM),
        (Noise(split="val"), FORM),
    )
    for number, (noise, form) in enumerate(cases):
        out = tmp_path / str(number)
        begin(out)
        run(out, noise, form=form, tell=said.append)
        assert not (out / ".partial").exists()
    assert said == []
    begin(tmp_path / "again")
    tar = tmp_path / "again/.partial/train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1])
    (tmp_path / "again/.partial/train-000001.done").write_bytes(b"{}")
    run(tmp_path / "again", Noise(), tell=said.append)
    assert said == [] and bytes_of(tmp_path / "again") == whole


@posix
def test_killed_at_any_touch_of_the_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.data.kills", str(tmp_path), "5"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    places = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(places) == 2 and min(places) > 50


# several processes


def test_processes_do_not_show(tmp_path: Path, whole: dict[str, bytes]) -> None:
    told: list[int] = []

    @contextlib.contextmanager
    def progress(total: int) -> Iterator[Callable[[int], None]]:
        assert total == 20
        yield told.append

    splits = shuffled(Noise().records, seed=0)
    write(tmp_path, Noise().source, splits, form=FORM, processes=3, progress=progress)
    assert bytes_of(tmp_path) == whole
    assert sum(told) == 20


@posix
def test_a_process_that_is_killed(tmp_path: Path, whole: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match=r"was killed, .* fewer --processes"):
        run(tmp_path, Dies(), processes=2)
    assert not (tmp_path / "manifest.json").exists()
    run(tmp_path, Noise())
    assert bytes_of(tmp_path) == whole


# several parts


def run_part(
    out: Path, number: int, count: int, noise: Noise | None = None, *, launch: str = ""
) -> tuple[Written | None, str]:
    noise, said = noise or Noise(), list[str]()
    written = write(
        out,
        noise.source,
        shuffled(noise.records, seed=0),
        form=FORM,
        part=Part(number, count, launch),
        tell=said.append,
    )
    return written, " ".join(said)


@pytest.mark.parametrize("order", [*itertools.permutations((1, 2, 3))])
def test_parts_make_one_folder(
    tmp_path: Path, order: tuple[int, ...], whole: dict[str, bytes]
) -> None:
    for number in order[:-1]:
        written, said = run_part(tmp_path, number, 3)
        assert written is None and "of 4 shards still to finish" in said
        assert not (tmp_path / "manifest.json").exists()
    written, _ = run_part(tmp_path, order[-1], 3)
    assert written is not None and written.manifest.splits["train"].samples == 20
    assert bytes_of(tmp_path) == whole


def test_a_part_goes_on_and_leaves_others_alone(tmp_path: Path, whole: dict[str, bytes]) -> None:
    run_part(tmp_path, 2, 2)
    with pytest.raises(KeyboardInterrupt):
        run_part(tmp_path, 1, 2, Stops())
    kept = {path.name for path in (tmp_path / ".partial").glob("*.tar")}
    assert kept == {"train-000000.tar", "train-000001.tar", "train-000003.tar"}
    written, said = run_part(tmp_path, 1, 2)
    assert written is not None and "kept 1 of 2 shards" in said
    assert bytes_of(tmp_path) == whole


def test_parts_then_the_whole(tmp_path: Path, whole: dict[str, bytes]) -> None:
    run_part(tmp_path, 2, 2)
    said: list[str] = []
    run(tmp_path, Noise(), tell=said.append)
    assert said == ["kept 2 of 4 shards that an earlier run finished."]
    assert bytes_of(tmp_path) == whole


def test_a_part_that_comes_when_all_is_published(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """A launch is killed when all shards are there; its ranks begin again at different times."""
    run_part(tmp_path, 2, 2, launch="first")
    with pytest.raises(KeyboardInterrupt):
        run_part(tmp_path, 1, 2, Stops(), launch="first")
    assert run_part(tmp_path, 1, 2, launch="second")[0] is not None
    assert (tmp_path / ".partial").exists()
    written, said = run_part(tmp_path, 2, 2, launch="second")
    assert written is not None and "holds these shards already" in said
    assert bytes_of(tmp_path) == whole
    with pytest.raises(UserError, match="has a split 'train' already"):
        run_part(tmp_path, 2, 2)


def test_who_may_not_write_at_the_same_time(tmp_path: Path) -> None:
    run_part(tmp_path, 1, 3)
    with FileLock(tmp_path / ".partial/part-2-of-3.lock"):
        for count, number, noise in ((3, 2, Noise()), (2, 1, Noise()), (3, 1, Noise(count=9))):
            with pytest.raises(UserError, match="Another process is writing"):
                run_part(tmp_path, number, count, noise)
        with pytest.raises(UserError, match="Another process is writing"):
            run(tmp_path, Noise())
        assert run_part(tmp_path, 3, 3)[0] is None
    assert run_part(tmp_path, 2, 3)[0] is not None


def test_a_part_that_is_still_at_work_publishes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """It may yet find that images of its finished shards have changed."""
    run_part(tmp_path, 2, 2)
    with FileLock(tmp_path / ".partial/part-2-of-2.lock"):
        written, said = run_part(tmp_path, 1, 2)
        assert written is None and "another part is still at work" in said
    assert run_part(tmp_path, 2, 2, Noise(changed="later"))[0] is not None
    assert bytes_of(tmp_path) == whole


def test_unreadable_images_of_all_parts_are_listed(tmp_path: Path) -> None:
    noise = Noise(bad=frozenset((0, 5, 11, 19)))
    run(tmp_path / "whole", noise)
    run_part(tmp_path / "parts", 1, 2, noise)
    written, _ = run_part(tmp_path / "parts", 2, 2, noise)
    assert written is not None and len(written.bad) == 4
    assert bytes_of(tmp_path / "parts") == bytes_of(tmp_path / "whole")


def test_more_parts_than_shards(tmp_path: Path) -> None:
    form = Form(16, shards=1)
    run(tmp_path / "whole", Noise(), form=form)
    splits = shuffled(Noise().records, seed=0)
    for number in (3, 1, 2):  # the first has the only shard, the second comes when all is done
        write(tmp_path / "parts", Noise().source, splits, form=form, part=Part(number, 3))
    assert bytes_of(tmp_path / "parts") == bytes_of(tmp_path / "whole")
