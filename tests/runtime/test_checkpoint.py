"""Checkpoints exist whole or not at all, and say what is wrong when they do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file
from torch import Tensor

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.runtime import checkpoint

MODEL = "model.safetensors"
FILES = (MODEL, checkpoint.EMA, checkpoint.STATE, checkpoint.DIGESTS)
DEEP = "[" * 100_000  # more than a parser's stack


def group(step: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(step)
    weight = torch.randn(4, 3, 2, 2, generator=source)
    return {
        "conv.weight": weight.to(memory_format=torch.channels_last),
        "view": weight[1:, 0],
        "step": torch.tensor(float(step)),
        "half": weight.to(torch.bfloat16),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def save(root: Path, step: int) -> Path:
    return checkpoint.save(
        root,
        step,
        tensors={MODEL: group(step), checkpoint.EMA: {"w": torch.ones(2) * step}, "o": {}},
        metadata={"version": checkpoint.VERSION, "domains": ["photo", "é"]},
        state={"step": step, "skipped": 0},
    )


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def names(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.iterdir())


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    folder = save(tmp_path, 5)
    assert folder == tmp_path / "step-00000005"
    tensors, metadata = checkpoint.read_tensors(folder / MODEL)
    assert metadata == {"version": checkpoint.VERSION, "domains": ["photo", "é"]}
    expected = group(5)
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert checkpoint.read_tensors(folder / "o")[0] == {}
    assert checkpoint.read_state(folder) == {"step": 5, "skipped": 0}


def test_equal_checkpoints_are_equal_bytes(tmp_path: Path) -> None:
    one, two = save(tmp_path / "one", 5), save(tmp_path / "two", 5)
    assert names(one) == names(two)
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()


def test_the_newest_is_the_highest_step(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "nowhere") is None
    assert checkpoint.newest(tmp_path) is None
    for step in (9, 100_000_000, 20_000_000):  # a ninth digit sorts wrongly as text
        save(tmp_path, step)
    assert checkpoint.newest(tmp_path) == tmp_path / "step-100000000"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [spoil, Path.unlink])
def test_a_damaged_checkpoint_is_never_the_newest(
    tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    damage(bad / file)
    if file == checkpoint.DIGESTS and damage is spoil:  # any single bit of it
        (bad / file).write_bytes((bad / file).read_bytes().replace(b'"sha256"', b'"sha257"'))
    assert not checkpoint.is_whole(bad)
    assert checkpoint.newest(tmp_path) == good


@pytest.mark.parametrize(
    "text", ["", "[]", "null", pytest.param(DEEP, id="deep"), '{"sha256": {}}', '{"sha256": 3}']
)
def test_a_torn_list_of_digests_is_not_whole(tmp_path: Path, text: str) -> None:
    folder = save(tmp_path, 1)
    (folder / checkpoint.DIGESTS).write_text(text)
    assert not checkpoint.is_whole(folder)


def test_digests_reach_no_other_folder(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    (tmp_path / "x").write_bytes(b"")
    digest = {"../x": atomic.sha256_file(tmp_path / "x")}
    (folder / checkpoint.DIGESTS).write_text(json.dumps({"sha256": digest}))
    assert not checkpoint.is_whole(folder)


def test_other_things_in_the_folder_are_let_be(tmp_path: Path) -> None:
    good = save(tmp_path, 1)
    shutil.copytree(good, tmp_path / "step-2")
    shutil.copytree(good, tmp_path / "my-best")
    shutil.copytree(good, tmp_path / "step-00000007.bak")
    (tmp_path / "step-00000009").touch()
    assert checkpoint.newest(tmp_path) == good


def test_saving_a_step_again_keeps_a_whole_one_and_mends_a_damaged_one(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    written = (folder / MODEL).stat().st_mtime_ns
    save(tmp_path, 1)
    assert (folder / MODEL).stat().st_mtime_ns == written
    spoil(folder / MODEL)
    assert checkpoint.is_whole(save(tmp_path, 1))


class Killed(BaseException):
    """What no code expects."""


def test_a_kill_at_any_moment_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut the second save short before every write, sync and rename it makes, one after another."""
    points = [
        (safetensors.torch, "save_file"),
        (atomic, "write_bytes"),
        (atomic, "sync_file"),
        (atomic, "sync_folder"),
        (atomic, "publish_folder"),
        (Path, "rename"),
        (Path, "replace"),
    ]
    kills = 0
    for owner, name in points:
        for nth in range(20):
            root = tmp_path / f"{name}-{nth}"
            first = save(root, 1)
            with monkeypatch.context() as patch:
                if not killed_at(patch, owner, name, nth, lambda root=root: save(root, 2)):
                    break
            kills += 1
            if name == "sync_folder" and (root / "step-00000002").exists():  # renamed already
                assert checkpoint.is_whole(root / "step-00000002")
            else:
                assert checkpoint.newest(root) == first
            second = save(root, 2)  # the next attempt succeeds
            assert checkpoint.newest(root) == second
            assert names(root) == ["step-00000001", "step-00000002"]  # and leaves no litter
    assert kills > 12


def killed_at(
    patch: pytest.MonkeyPatch, owner: Any, name: str, nth: int, work: Callable[[], object]
) -> bool:
    """Whether ``work`` got as far as the nth call of a function, and died there."""
    original, calls = getattr(owner, name), 0

    def fatal(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth + 1:
            raise Killed
        return original(*args, **options)

    patch.setattr(owner, name, fatal)
    try:
        work()
    except Killed:
        return True
    return False


def test_litter_of_another_step_goes_too(tmp_path: Path) -> None:
    """A killed save of step 7 is never continued when the run resumes elsewhere."""
    (tmp_path / ".step-00000007.partial").mkdir()
    (tmp_path / ".step-00000001.deleted").mkdir()
    save(tmp_path, 3)
    assert names(tmp_path) == ["step-00000003"]


@pytest.mark.parametrize(
    ("keep", "left"), [(1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4])]
)
def test_pruning_keeps_the_newest(tmp_path: Path, keep: int, left: list[int]) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, keep)
    assert names(tmp_path) == [checkpoint.folder_name(step) for step in left]


def test_pruning_waits_while_the_newest_is_damaged(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    spoil(tmp_path / "step-00000003" / MODEL)
    checkpoint.prune(tmp_path, 1)
    assert len(names(tmp_path)) == 3


def test_pruning_lets_the_user_s_own_files_be(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for step in (1, 2):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, 1)
    assert names(tmp_path) == ["notes", "step-00000002"]


def test_every_way_to_name_a_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save(run / "checkpoints", 1)
    folder = save(run / "checkpoints", 2)
    model = folder / checkpoint.EMA
    for given in (run, run / "latest", run / "checkpoints", run / "checkpoints" / "latest"):
        assert checkpoint.resolve(given) == model
    for given in (folder, model):
        assert checkpoint.resolve(given) == model
    older = run / "checkpoints" / "step-00000001"
    assert checkpoint.resolve(older) == older / checkpoint.EMA


def test_a_folder_called_latest_is_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "latest" / "checkpoints", 3)
    assert "latest" in checkpoint.resolve(tmp_path / "latest").parts


def test_nonsense_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; give a run folder"):
        checkpoint.resolve(tmp_path / "nowhere")
    with pytest.raises(UserError, match="does not exist"):
        checkpoint.resolve(tmp_path / "nowhere" / "latest")
    with pytest.raises(UserError, match="no complete checkpoint"):
        checkpoint.resolve(tmp_path)
    damaged = save(tmp_path, 1)
    spoil(damaged / MODEL)
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.resolve(damaged)
    (damaged / checkpoint.DIGESTS).unlink()
    with pytest.raises(UserError, match="no complete checkpoint"):
        checkpoint.resolve(damaged)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "not written by srae_dist"),
        ({"other": "1"}, "not written by srae_dist"),
        ({checkpoint.METADATA_KEY: '{"version": 99}'}, "version 99, this srae_dist reads 2"),
        ({checkpoint.METADATA_KEY: "{}"}, "version None"),
        ({checkpoint.METADATA_KEY: "[1]"}, "version None"),
        ({checkpoint.METADATA_KEY: "{"}, "no readable"),
        pytest.param({checkpoint.METADATA_KEY: DEEP}, "no readable", id="deep"),
    ],
)
def test_foreign_files_are_refused(
    tmp_path: Path, header: dict[str, str] | None, said: str
) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=header)
    with pytest.raises(UserError, match=said):
        checkpoint.read_tensors(tmp_path / "x.safetensors")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        checkpoint.read_tensors(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match="no readable safetensors"):
        checkpoint.read_tensors(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"x\.safetensors|safetensors"):
        checkpoint.read_tensors(tmp_path)


@pytest.mark.parametrize("text", [None, "", "[1]", "{", pytest.param(DEEP, id="deep"), "\xff"])
def test_an_unreadable_state_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / checkpoint.STATE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"state\.json cannot be read"):
        checkpoint.read_state(tmp_path)


def test_a_renamed_checkpoint_does_not_pass_for_a_later_step(tmp_path: Path) -> None:
    real = save(tmp_path, 5)
    shutil.copytree(real, tmp_path / "step-00000900")
    assert checkpoint.newest(tmp_path) == real
    copied = shutil.copytree(real, tmp_path / "best")  # any other name is the user's own
    assert checkpoint.resolve(copied) == copied / checkpoint.EMA
