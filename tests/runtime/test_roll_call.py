"""Who is missing: what ranks that lost a link find out about the others."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from srae_dist.core.errors import ExitCode, LostRankError, UserError
from srae_dist.runtime import roll_call
from srae_dist.runtime.launch import World

BROKEN = "[pair.cc:545] gloo: Read error: Connection reset by peer"
WORLD = World(
    rank=0,
    size=3,
    local_size=3,
    machines=1,
    device=torch.device("cpu"),
    visible_gpus=0,
    threads=1,
    launched=True,
)


class Shelf:
    """A store that all ranks share; ``gone`` as after its machine's death."""

    def __init__(self, *, gone: bool = False) -> None:
        self.values: dict[str, str] = {}
        self.gone = gone

    def _ask(self) -> None:
        if self.gone:
            raise RuntimeError("Broken pipe")

    def set(self, key: str, value: str, /) -> None:
        self._ask()
        self.values[key] = value

    def get(self, key: str, /) -> bytes:
        self._ask()
        return self.values[key].encode()

    def check(self, keys: list[str], /) -> bool:
        self._ask()
        return all(key in self.values for key in keys)


def after(
    monkeypatch: pytest.MonkeyPatch,
    errors: dict[int, Exception],
    *,
    gone: bool = False,
    patience: float = 0.5,
) -> dict[int, Exception]:
    """What leaves each rank's context when these errors enter it; other ranks are silent."""
    shelf = Shelf(gone=gone)
    monkeypatch.setattr(roll_call, "_store", lambda: shelf)
    left: dict[int, Exception] = {}

    def be(rank: int) -> None:
        world = dataclasses.replace(WORLD, rank=rank)
        try:
            with roll_call.answering(world, resumable=lambda: "Go on.", patience=patience):
                raise errors[rank]
        except Exception as error:
            left[rank] = error

    ranks = [threading.Thread(target=be, args=(rank,)) for rank in errors]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    return left


def test_a_silent_rank_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left = after(monkeypatch, {0: RuntimeError(BROKEN), 2: RuntimeError(BROKEN)})
    assert all(isinstance(error, LostRankError) for error in left.values())
    assert str(left[0]).startswith("Rank 1 of 3 does not answer (killed")
    assert str(left[0]).endswith("Go on.")
    assert str(left[2]) == ""  # one sentence is enough


def test_a_rank_that_failed_alone_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: dict[int, Exception] = {
        0: MemoryError("no room"),
        1: RuntimeError(BROKEN),
        2: RuntimeError(BROKEN),
    }
    left = after(monkeypatch, errors, patience=30)  # nobody waits: all have answered
    assert left[0] is errors[0]
    assert "Rank 0 of 3 failed (MemoryError: no room)" in str(left[1])
    assert str(left[2]) == ""


def test_a_user_s_mistake_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    mistake = UserError("gloo has nothing to do with it")
    assert after(monkeypatch, {1: mistake}) == {1: mistake}


def test_an_error_of_this_rank_s_own_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    own = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert after(monkeypatch, {1: own}) == {1: own}


def test_a_store_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (error,) = after(monkeypatch, {1: RuntimeError(BROKEN)}, gone=True).values()
    assert "launcher of machine 0 is gone" in str(error)


def test_a_link_that_broke_while_all_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    left = after(monkeypatch, {rank: RuntimeError(BROKEN) for rank in range(3)}, patience=30)
    assert "All ranks are here" in str(left[0])


def test_a_rank_alone_calls_nobody() -> None:
    own = RuntimeError(BROKEN)
    alone = dataclasses.replace(WORLD, size=1)
    with pytest.raises(RuntimeError) as found, roll_call.answering(alone, resumable=str):
        raise own
    assert found.value is own


def test_a_lost_rank_has_an_exit_code_of_its_own() -> None:
    assert LostRankError.exit_code is ExitCode.LOST
    assert ExitCode.LOST not in (ExitCode.DONE, ExitCode.USER, ExitCode.STOPPED)
