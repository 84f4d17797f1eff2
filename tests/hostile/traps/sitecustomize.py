"""Booby traps, set in every Python process whose path has this folder, before anything else runs.

Whatever unpickles is written down in the file that TRAPPED names, and fails, unless it reads a
message of our own processes: out of a pipe or socket, in the code that sends such messages.
"""

from __future__ import annotations

import importlib.abc
import marshal
import os
import pickle
import stat
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

SENDERS = ("multiprocessing", "concurrent/futures/process", "torch/multiprocessing")
SENDERS += ("torch/distributed", "torch/utils/data/_utils")
_C, _LOADS = pickle.Unpickler, pickle.loads


class Trapped(RuntimeError):
    """Something was unpickled that did not come from one of our own processes."""


def tell(what: str) -> None:
    """Write a line down."""
    with open(os.environ["TRAPPED"], "a", encoding="utf-8") as file:  # noqa: PTH123  no imports
        file.write(f"{what}\n")


def spring(what: str) -> None:
    stack = " < ".join(
        f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_stack(limit=9))
    )
    tell(f"TRAP {what}: {stack}")
    raise Trapped(what)


def by_sender() -> bool:
    """Whether the next caller outside this file is code that sends messages between processes."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, pickle.__file__):
        frame = frame.f_back
    return any(f"/{name}" in frame.f_code.co_filename for name in SENDERS)


def through_a_pipe(file: Any) -> bool:
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def loads(data: Any, /, **options: Any) -> Any:
    if not by_sender():
        spring("pickle.loads")
    tell("message")
    return _LOADS(data, **options)


def guarded(base: type) -> type:
    """An unpickler that reads nothing but messages; joblib looks into the Python one."""

    class Unpickler(base):
        def __init__(self, file: Any, **options: Any) -> None:
            if not (by_sender() and through_a_pipe(file)):
                spring("pickle.Unpickler")
            super().__init__(file, **options)

    return Unpickler


def load(file: Any, **options: Any) -> Any:
    if not (by_sender() and through_a_pipe(file)):
        spring("pickle.load")
    tell("message")
    return _C(file, **options).load()


def never(name: str) -> Callable[..., Any]:
    return lambda *args, **options: spring(name)


def unless_pickled(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any, **options: Any) -> Any:
        if options.get("allow_pickle") or len(args) > 2:
            spring(f"{name} with allow_pickle")
        return call(*args, **options)

    return checked


FORBIDDEN = {
    "torch": ("load",),
    "torch.serialization": ("load",),
    "torch.jit": ("load",),
    "joblib": ("load",),
    "dill": ("load", "loads"),
    "yaml": ("unsafe_load", "unsafe_load_all", "full_load", "full_load_all"),
    "shelve": ("open",),
}


class Setter(importlib.abc.MetaPathFinder):
    """Sets traps in modules once they are there: called at each import."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        for module in FORBIDDEN.keys() & sys.modules.keys():
            arm(module, sys.modules[module])
        return None


def arm(name: str, module: ModuleType) -> None:
    for call in FORBIDDEN[name]:
        found = getattr(module, call, None)
        if found is not None and not hasattr(found, "is_trap"):
            trap = never(f"{name}.{call}")
            trap.is_trap = True  # type: ignore[attr-defined]
            setattr(module, call, trap)


def set_traps() -> None:
    pickle.load, pickle.loads, pickle.Unpickler = load, loads, guarded(_C)  # type: ignore[misc]
    pickle._Unpickler = guarded(pickle._Unpickler)  # type: ignore[attr-defined]
    marshal.load = never("marshal.load")
    sys.meta_path.insert(0, Setter())
    import numpy as np

    np.load = unless_pickled("numpy.load", np.load)
    tell("set")


if "TRAPPED" in os.environ:
    set_traps()
