"""Who works in a shard folder: one writer, or several parts of one, and what each leaves there.

``.lock`` is held by a lone writer for as long as it works; parts hold it only to begin and to end,
and each a lock of its own in ``.partial`` all the time. ``.partial/parts.json`` says what is being
made, and which parts have finished.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from srae_dist.core import atomic, disk
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import read_json
from srae_dist.data.manifest import MANIFEST
from srae_dist.data.publish import complete

PARTIAL = ".partial"
DONE = ".done"  # suffix of the file that says what a finished shard holds
WAIT_TO_BEGIN, WAIT_TO_END = 60.0, 600.0  # seconds that a part gives others to begin or to publish

_STATE = "parts.json"


@dataclass(frozen=True, slots=True)
class Part:
    """Which of several writers this is, each of which makes its share of the shards."""

    number: int = 1
    count: int = 1
    launch: str = ""  # names the launch that all parts belong to, if one did start them

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def owns(self, shard: int) -> bool:
        """Tell whether a shard's number is this part's to make."""
        return shard % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class State:
    """What is being made, and by whom."""

    plan: str = ""  # fingerprint
    parts: int = 0
    launch: str = ""
    finished: tuple[int, ...] = ()  # parts that have nothing left to do
    missed: tuple[int, ...] = ()  # parts that had not come when all was published


def load_state(partial: Path) -> State:
    """Return what a folder says is being made; nothing, where it says nothing sensible."""
    try:
        value = read_json(partial / _STATE)
        return State(
            str(value["plan"]),
            int(value["parts"]),
            str(value["launch"]),
            tuple(map(int, value["finished"])),
            tuple(map(int, value["missed"])),
        )
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return State()


@contextlib.contextmanager
def alone(out: Path, *, wait: float = 0.0) -> Iterator[Path]:
    """Hold the lock of ``out`` and yield its ``.partial`` folder.

    Raises:
        UserError: another process has it for more than ``wait`` seconds, or nobody can write there.
    """
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        with _held(out / ".lock", out, wait):
            partial = out / PARTIAL
            shutil.rmtree(out / f".{PARTIAL}.deleted", ignore_errors=True)  # of remove_folder
            partial.mkdir(exist_ok=True)
            try:
                yield partial
            finally:
                with contextlib.suppress(OSError):
                    partial.rmdir()  # if nothing is in it


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Hold the lock of ``out`` and yield an empty ``.partial`` folder, which is gone in the end.

    Raises:
        UserError: another process writes there, or nobody can.
    """
    with alone(out) as partial:
        recover(partial, out, Part())
        if anybody(partial):
            raise _busy(out)
        shutil.rmtree(partial)
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def recover(partial: Path, out: Path, part: Part) -> str:
    """Do the rest of what a killed writer was publishing; return its plan, or "" if there is none.

    Then ``partial`` has nothing but word for the other parts.
    """
    if not complete(partial, out):
        return ""
    there = load_state(partial)
    _leave(partial, there, part)
    partial.mkdir(exist_ok=True)
    return there.plan


class Site:
    """One part's place of work: ``out`` and its ``.partial``, whose lock is held by now."""

    def __init__(self, out: Path, partial: Path, part: Part, plan: str) -> None:
        self.out, self.partial, self.part, self.plan = out, partial, part, plan
        there = load_state(partial)
        self.is_new = (there.plan, there.parts) != (plan, part.count)  # nothing there goes on
        self._lock = partial / f"part-{part.number}-of-{part.count}.lock"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the part's lock; if nothing was finished, nothing is left behind.

        Raises:
            UserError: another process is this part, or one that makes something else is at work.
        """
        if anybody(self.partial) and (self.is_new or self.part.count == 1):
            raise _busy(self.out)
        with _held(self._lock, self.out, 0.0):
            there = State() if self.is_new else load_state(self.partial)
            others = set(there.finished) - {self.part.number}
            if self.part.launch != there.launch:
                others = set()  # they will come again
            finished = tuple(sorted(others))
            _save(self.partial, State(self.plan, self.part.count, self.part.launch, finished))
            try:
                yield
            finally:
                if self.part.count == 1 and not any(self.partial.glob(f"*{DONE}")):
                    shutil.rmtree(self.partial, ignore_errors=True)

    def sweep(self, kept: Sequence[str]) -> None:
        """Delete all files of ``.partial`` but those of the shards ``kept``, by their stems."""
        stems = set(kept)
        for path in self.partial.iterdir():
            stem = path.name.lstrip(".").partition(".")[0]
            if stem in stems or path.suffix == ".lock" or path.name == _STATE:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def is_published(self) -> bool:
        """Tell whether other parts have published all before this one came."""
        there = load_state(self.partial)
        ours = (there.plan, there.parts) == (self.plan, self.part.count)
        if not ours or self.part.number not in there.missed or not (self.out / MANIFEST).exists():
            return False
        _leave(self.partial, there, self.part)
        return True

    def others_at_work(self) -> bool:
        """Tell whether another part is at work, which then publishes."""
        return anybody(self.partial, but=self._lock)

    def forget(self, stem: str) -> None:
        """Take a shard for unfinished."""
        (self.partial / f"{stem}{DONE}").unlink(missing_ok=True)

    def leave_finished(self) -> None:
        """Say that this part has nothing left to do."""
        there = load_state(self.partial)
        finished = tuple(sorted({*there.finished, self.part.number}))
        _save(self.partial, replace(there, finished=finished))

    def leave_published(self) -> None:
        """Leave word for parts that have not come yet; else leave nothing."""
        _leave(self.partial, load_state(self.partial), self.part)


def anybody(partial: Path, *, but: Path | None = None) -> bool:
    """Tell whether some part is at work, ``but`` the one of that lock."""
    for path in partial.glob("part-*.lock"):
        if path != but:
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                return True
    return False


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn what the system refuses into a sentence.

    Raises:
        UserError: it refused something.
    """
    try:
        with disk.full_told(out):
            yield
    except OSError as error:
        raise UserError(
            f"{error.filename or out} cannot be used: {error.strerror or error}; mend that, "
            "or choose another --out."
        ) from None


@contextlib.contextmanager
def _held(path: Path, out: Path, wait: float) -> Iterator[None]:
    try:
        lock = FileLock(path)
        lock.acquire(timeout=wait)
    except Timeout:
        raise _busy(out) from None
    try:
        yield
    finally:
        lock.release()


def _busy(out: Path) -> UserError:
    return UserError(f"Another process is writing to {out}; wait for it, or stop it.")


def _leave(partial: Path, there: State, part: Part) -> None:
    """Empty ``.partial``, all being published, but for word to parts that have not come yet."""
    finished = {*there.finished, part.number}
    missed = sorted(set(range(1, there.parts + 1)) - finished)
    atomic.remove_folder(partial)
    if missed:
        partial.mkdir()
        _save(partial, replace(there, finished=tuple(sorted(finished)), missed=tuple(missed)))


def _save(partial: Path, state: State) -> None:
    atomic.write_json(partial / _STATE, asdict(state))
