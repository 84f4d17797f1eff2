"""Photographs of a folder at every touch of the disk: what a process killed there would leave.

One undisturbed run gives them all, so that every place can be tried in CI: a kill leaves what lies
on the disk at that moment, halves of files included. A power cut leaves less: ``Disk`` notes
what was synced, and there are two photographs of it, since names and contents are lost apart.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import io
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import safetensors.numpy
import safetensors.torch

Tree = dict[str, bytes | None]  # relative path -> bytes; None is a folder


@dataclass(frozen=True, slots=True)
class Photograph:
    """What would be left, and of what."""

    number: int  # of the touch
    touch: str  # the system call, and the file's name
    event: str  # killed | names kept | all lost
    tree: Tree = field(repr=False)
    modified: dict[str, int] = field(repr=False)  # times in ns, of files

    def __str__(self) -> str:
        return f"{self.event} before {self.number}: {self.touch}"

    def develop(self, folder: Path) -> None:
        """Make ``folder`` what is on the photograph."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in self.tree.items():
            path = folder / name
            if data is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(data)
                os.utime(path, ns=(self.modified[name], self.modified[name]))


class Disk:
    """What of a folder is safe from a power cut: contents and entries as they were synced last."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, tuple[int, bool]]] = {}
        self._pinned: list[int] = []  # descriptors: else the system would give numbers again
        for path in (root, *root.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            self.sync(descriptor)
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """Take note of what a file or a folder holds."""
        number, there = os.fstat(descriptor).st_ino, f"/proc/self/fd/{descriptor}"
        self._pinned.append(os.dup(descriptor))
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            inside = list(os.scandir(there))
            self._pinned += [os.open(entry.path, os.O_PATH) for entry in inside]
            self._entries[number] = {e.name: (e.inode(), e.is_dir()) for e in inside}
        else:
            with open(there, "rb") as file:  # noqa: PTH123
                self._contents[number] = file.read()

    def names_kept(self) -> Tree:
        """Every name is there, but a file has only what of it was synced."""
        tree = look(self._root)
        for name, data in tree.items():
            if data is not None:
                tree[name] = self._contents.get((self._root / name).lstat().st_ino, b"")
        return tree

    def all_lost(self) -> Tree:
        """Nothing is there that was not synced, name or content."""
        return dict(self._kept("", self._root.lstat().st_ino))

    def _kept(self, before: str, number: int) -> Iterator[tuple[str, bytes | None]]:
        for name, (inside, is_folder) in self._entries.get(number, {}).items():
            if is_folder:
                yield before + name, None
                yield from self._kept(f"{before}{name}/", inside)
            else:
                yield before + name, self._contents.get(inside, b"")

    def close(self) -> None:
        for descriptor in self._pinned:
            os.close(descriptor)


class Camera:
    """Takes a photograph whenever there is something new to see."""

    def __init__(self, root: Path, *, power: bool) -> None:
        self.root, self.taken, self.touches = root, list[Photograph](), 0
        self.safe = False  # whether a power cut at the end would have lost nothing
        self._disk = Disk(root) if power else None
        self._seen: set[str] = set()
        self._lock = threading.RLock()

    def shoot(self, touch: str) -> None:
        """Photograph what a kill and a power cut would leave at this moment."""
        self.touches += 1
        there = look(self.root)
        self._keep(touch, "killed", there)
        if self._disk is not None:
            self._keep(touch, "names kept", self._disk.names_kept())
            self._keep(touch, "all lost", self._disk.all_lost())

    def _keep(self, touch: str, event: str, tree: Tree) -> None:
        digest = hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()
        if digest not in self._seen:
            self._seen.add(digest)
            times = {
                name: (self.root / name).stat().st_mtime_ns if (self.root / name).is_file() else 0
                for name, data in tree.items()
                if data is not None
            }
            self.taken.append(Photograph(self.touches, touch, event, tree, times))

    def touching(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Photograph before every call."""

        def touch(*args: Any, **options: Any) -> Any:
            with self._lock:
                self.shoot(f"{name} {_name_of(args)}")
                return function(*args, **options)

        return touch

    def syncing(self, function: Callable[[int], None]) -> Callable[[int], None]:
        """Note what is synced."""

        def fsync(descriptor: int) -> None:
            with self._lock:
                self.shoot(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
                function(descriptor)
                if self._disk is not None:
                    self._disk.sync(descriptor)

        return fsync

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Have what is written to files below the root pass the camera."""

        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            made = function(file, mode, *args, **options)
            below = not isinstance(file, int) and str(self.root) in os.fspath(file)
            return _Half(made, self) if below and set(mode) & set("wax+") else made

        return opened

    def tensors(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Photograph half a file under a name of the library's own."""

        def save_file(tensors: Any, filename: Any, *args: Any, **options: Any) -> None:
            with self._lock:
                half = Path(filename).with_name(".tmpAbCdEf")
                half.write_bytes(b"half")
                self.shoot(f"tensors {Path(filename).name}")
                half.unlink()
                function(tensors, filename, *args, **options)

        return save_file

    def finish(self) -> None:
        """Take the last ones, and see whether all that was written is safe by now."""
        self.shoot("the end")
        if self._disk is not None:
            lost = look(self.root).items() - self._disk.all_lost().items()
            self.safe = {name for name, _ in lost} <= {".lock"}
            self._disk.close()


class _Half:
    """A file of which a photograph is taken when half of something is written."""

    def __init__(self, file: Any, camera: Camera) -> None:
        self._file, self._camera = file, camera

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Half:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        with self._camera._lock:
            middle = len(data) // 2  # of an array's rows, if it is one
            self._file.write(data[:middle])
            self._file.flush()
            self._camera.shoot(f"write {Path(self._file.name).name}")
            self._file.write(data[middle:])
            return len(data)


@contextlib.contextmanager
def photographed(root: Path, *, power: bool = False) -> Iterator[Camera]:
    """Take photographs of ``root`` at every write, sync, rename, deletion and new folder."""
    camera = Camera(root, power=power)
    calls = ("replace", "rename", "unlink", "rmdir", "mkdir", "link")
    with contextlib.ExitStack() as stack:
        for name in calls:
            stack.enter_context(patch.object(os, name, camera.touching(name, getattr(os, name))))
        stack.enter_context(patch.object(os, "fsync", camera.syncing(os.fsync)))
        for module in (safetensors.torch, safetensors.numpy):
            made = camera.tensors(module.save_file)
            stack.enter_context(patch.object(module, "save_file", made))
        for owner in (io, builtins):
            stack.enter_context(patch.object(owner, "open", camera.opening(owner.open)))
        yield camera
    camera.finish()


def look(root: Path) -> Tree:
    """Return all files and folders below a folder."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def _name_of(args: tuple[Any, ...]) -> str:
    return Path(os.fspath(args[0])).name if args and isinstance(args[0], (str, Path)) else ""
