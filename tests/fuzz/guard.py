"""Watches what the process opens: nothing outside its folder is opened, written, run or called.

Python's audit hooks see every ``open``, whoever asks for it; libraries' and modules' own files
(below the interpreter and the package) may be read.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PACKAGE = Path(__file__).parents[2]
_SYSTEM = ("/dev/null", "/dev/urandom", "/proc/", "/sys/", "/usr/", "/lib/", "/etc/localtime")
_READABLE = (
    *(sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")),
    *(str(_PACKAGE / "srae_dist"), str(_PACKAGE / "tests")),
)
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
_NEVER = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"),
    *("socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen"),
}


class Guard:
    """Collects what should not have happened, once it is switched on."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _NEVER:
            self.seen.append(f"{event} {args!r}"[:300])
        elif event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            self._opened(os.fsdecode(args[0]), str(args[1] or ""), int(args[2] or 0))
        elif event in _CHANGES:
            for path in args[: 2 if event in ("os.rename", "os.link") else 1]:
                if isinstance(path, str | bytes | os.PathLike) and not self._inside(path):
                    self.seen.append(f"{event} {path!r}")

    def _opened(self, path: str, mode: str, flags: int) -> None:
        if self._inside(path):
            return
        writes = any(letter in mode for letter in "wax+") or flags & _WRITING
        full = os.path.realpath(path)
        if writes and full != "/dev/null":
            self.seen.append(f"wrote {full}")
        elif not writes and not full.startswith((*_SYSTEM, *_READABLE)):
            self.seen.append(f"opened {full}")

    def _inside(self, path: Any) -> bool:
        full = os.path.realpath(os.fsdecode(path))
        return full == self._folder or full.startswith(self._folder + os.sep)
