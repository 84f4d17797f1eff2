"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.core import atomic

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_the_old_file_survives_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "x.png"
    with atomic.replacing(path) as temporary:
        assert temporary.suffix == ".png"  # image encoders choose by it
        assert temporary.parent == path.parent
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["sync_file", "sync_folder"])
def test_a_disk_that_fails_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, broken, fail)
    with pytest.raises(OSError, match="No space"):
        atomic.write_bytes(tmp_path / "x", b"new")
    assert [file.name for file in tmp_path.iterdir() if file.name != "x"] == []


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    """Temporary files are private; the final one must be as any new file."""
    plain = tmp_path / "plain"
    plain.touch()
    atomic.write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


def test_a_very_long_name_fits(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    atomic.write_text(path, "x")
    assert path.read_text() == "x"


def test_a_file_in_the_way_of_the_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        atomic.write_text(tmp_path / "file" / "x", "x")


@given(JSON)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    atomic.write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a", {"b": 1, "a": {"z": "é", "y": [1.5]}})
    atomic.write_json(tmp_path / "b", {"a": {"y": [1.5], "z": "é"}, "b": 1})
    written = (tmp_path / "a").read_bytes()
    assert written == (tmp_path / "b").read_bytes()
    assert written.endswith(b"}\n")
    assert "é".encode() in written


def test_a_published_folder_is_whole(tmp_path: Path) -> None:
    temporary = tmp_path / ".partial"
    (temporary / "deep").mkdir(parents=True)
    (temporary / "deep" / "x").write_text("x")
    atomic.publish_folder(temporary, tmp_path / "final")
    assert (tmp_path / "final" / "deep" / "x").read_text() == "x"
    assert not temporary.exists()


def test_a_folder_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave a name without its contents."""
    temporary, final = tmp_path / ".partial", tmp_path / "final"
    (temporary / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (temporary / name).write_text(name)
    synced: list[tuple[str, bool]] = []

    def note(path: Path) -> None:
        synced.append((path.relative_to(tmp_path).as_posix(), final.exists()))

    monkeypatch.setattr(atomic, "sync_file", note)
    monkeypatch.setattr(atomic, "sync_folder", note)
    atomic.publish_folder(temporary, final)
    before = [name for name, renamed in synced if not renamed]
    assert before == [".partial/a", ".partial/deep", ".partial/deep/b", ".partial"]
    assert synced[-1] == (".", True)  # and the rename itself


def test_publishing_never_replaces(tmp_path: Path) -> None:
    for name in (".partial", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    with pytest.raises(OSError):
        atomic.publish_folder(tmp_path / ".partial", tmp_path / "final")
    assert (tmp_path / "final" / "x").read_text() == "final"


def test_a_half_deleted_folder_is_not_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "step-1"
    folder.mkdir()
    (folder / "x").touch()

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            atomic.remove_folder(folder)
    assert not folder.exists()
    folder.mkdir()  # and the next one of that name can be deleted too
    atomic.remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_removing_nothing_is_fine(tmp_path: Path) -> None:
    atomic.remove_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 1, atomic.CHUNK, atomic.CHUNK + 1])
def test_sha256(tmp_path: Path, size: int) -> None:
    import hashlib

    data = bytes(i % 251 for i in range(256)) * (size // 256 + 1)
    (tmp_path / "x").write_bytes(data[:size])
    assert atomic.sha256_file(tmp_path / "x") == hashlib.sha256(data[:size]).hexdigest()


def test_json_keeps_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    value = {"\ud800": "caf\u00e9 \U0001f600 \udcff"}  # as names that are not UTF-8 have it
    atomic.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_bytes()) == value
