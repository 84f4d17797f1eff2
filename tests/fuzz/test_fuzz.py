"""Hostile bytes of every kind come to nothing: more than 10,000 inputs, the same in every run.

A longer run: ``python benchmarks/fuzz.py``.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.manifest import load_manifest
from srae_dist.data.store import SCHEMES, LocalStore, open_store
from srae_dist.data.walk import split_name, walk
from tests.fuzz import images_of, readers, targets
from tests.fuzz.run import ROOT, Outcome, run

COUNTS = {"images": 7000, "tar": 1200, "manifest": 1500, "index": 700, "urls": 1500}
COUNTS |= {"checkpoint": 120, "recipe": 1500, "neighbours": 700, "weights": 120, "references": 300}
COUNTS |= {"results": 100, "cached": 700, "answers": 2000}
SLOWEST = 8.0  # seconds an input may take, on a busy machine, too
MOST_MEMORY = 200 << 20  # bytes that inputs of a few kB may add
BOMBS_MEMORY = 900 << 20  # bytes: the largest image that is allowed, and copies of it


def verdict(found: Outcome) -> str:
    return "\n".join(f"input {number}: {what}" for number, what in found.failures)


@pytest.mark.parametrize("target", COUNTS)
def test_only_our_own_errors_come_out(target: str, tmp_path: Path) -> None:
    found = run(target, tmp_path / "work", count=COUNTS[target])
    assert not found.failures, verdict(found)
    assert found.inputs == COUNTS[target] and set(found.counts) == {"accepted", "refused"}
    assert found.slowest < SLOWEST, f"input {found.slowest_at} takes {found.slowest:.1f} s"
    assert found.growth < MOST_MEMORY, f"input {found.growth_at} takes {found.growth:,} bytes"


def test_undamaged_folders_are_accepted(tmp_path: Path) -> None:
    folder = targets.ManifestFile(tmp_path)
    assert folder.read_all() and folder.feed(json.dumps(folder.manifest).encode())
    assert targets.IndexFile(tmp_path).feed(folder.table)
    assert targets.Tar(tmp_path).feed(folder.shard)


def test_undamaged_files_of_other_kinds_are_accepted(tmp_path: Path) -> None:
    for name, of in readers.READERS.items():
        (tmp_path / name).mkdir()
        target = of(tmp_path / name)
        assert all(target.feed(data) for data in target.sound()), name


def test_bombs_are_refused_or_small(tmp_path: Path) -> None:
    names = list(images_of.bombs())
    found = run("bombs", tmp_path / "work", count=len(names))
    assert not found.failures, verdict(found)
    assert found.slowest < SLOWEST, f"{names[found.slowest_at]} takes {found.slowest:.1f} s"
    assert found.growth < BOMBS_MEMORY, f"{names[found.growth_at]}: {found.growth:,} bytes"


BROKEN = """
import sys
from pathlib import Path
from tests.fuzz import targets, worker

class Broken:
    def __init__(self, folder):
        self.folder = folder
    def make(self, seed, number):
        return b"%d" % number
    def feed(self, data):
        if data == b"3":
            raise KeyError("three")
        if data == b"4":
            open("/etc/passwd").close()
        if data == b"5":
            sys.audit("os.mkdir", "/tmp/elsewhere", 0o777, -1)  # as os.mkdir does
        if data == b"6":
            (self.folder / "inside").write_bytes(b"")
        return True

targets.TARGETS["broken"] = Broken
worker.main("broken", Path(sys.argv[1]), 0, 0, 8, 60.0)
"""


def test_the_worker_itself(tmp_path: Path) -> None:
    """What should not come out is found: another error, a file opened or made elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path / "work")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout or done.stderr)
    assert [item["number"] for item in said["failures"]] == [3, 4, 5]
    assert said["outcomes"]["accepted"] == 5


def test_an_input_that_kills_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "killed.py"
    program.write_text(
        "import os, sys\n"
        "folder, start = sys.argv[4], int(sys.argv[6])\n"
        "os.makedirs(folder, exist_ok=True)\n"
        "open(folder + '/at', 'w').write('7')\n"
        'os.abort() if start <= 7 else print(\'{"outcomes": {}, "failures": [], '
        '"slowest": 0, "growth": 0}\')\n'
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = run("images", tmp_path / "work", count=20)
    assert [number for number, _ in found.failures] == [7] and found.counts == {"died": 1}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
fuzzed = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fuzzed
@given(value=json_values)
def test_any_json_as_a_manifest(tmp_path: Path, value: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"manifest\.json"):
        load_manifest(tmp_path)


@fuzzed
@given(part=json_values, place=st.sampled_from(["domains", "image_size", "image_format", "splits"]))
def test_any_json_as_a_part_of_a_manifest(tmp_path: Path, part: object, place: str) -> None:
    value = {
        "format": "srae_dist.shards",
        "version": 2,
        "domains": ["a", "b"],
        "image_size": 8,
        "image_format": "png",
        "splits": {},
        place: part,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    try:
        made = load_manifest(tmp_path)
    except UserError:
        return
    files = [shard.file for split in made.splits.values() for shard in split.shards]
    files += [split.index for split in made.splits.values()]
    assert all((tmp_path / file).resolve().parent == tmp_path.resolve() for file in files)


@fuzzed
@given(data=st.binary(max_size=4096))
def test_any_bytes_as_a_tar_file(data: bytes) -> None:
    try:
        for member in walk(io.BytesIO(data), length=len(data)):
            assert member.offset + member.size <= len(data)
    except SampleError:
        pass


@fuzzed
@given(name=st.text(max_size=40))
def test_names_are_divided_as_webdataset_does(name: str) -> None:
    from webdataset.tariterators import base_plus_ext

    key, suffix = base_plus_ext(name)
    if "\n" not in name:  # such a name is unsafe, and webdataset's pattern stops there
        assert split_name(name) == (key or "", (suffix or "").lower() if key else "")


@fuzzed
@given(text=st.text(max_size=40) | st.from_regex(r"[a-z0-9+]{1,8}:/{0,2}[^\n]{0,20}"))
def test_any_text_as_a_place(text: str) -> None:
    try:
        store = open_store(text)
    except UserError:
        return
    assert isinstance(store, LocalStore) or store.name.lower().startswith(SCHEMES)
