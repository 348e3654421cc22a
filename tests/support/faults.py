"""Faults at every place where something changes on the disk: the disk is full there, or the process is killed there.

Python tells of every file that is opened, renamed or removed before it happens, so that no place has to be named.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctdc_pipeline.errors import ResourceError
from ctdc_pipeline.storage.zones import UNFINISHED, Zones

_CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
_watching: list[Callable[[Path], None]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or not (event in _CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))):
        return
    (see,) = _watching
    _watching.clear()
    try:
        see(Path(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else Path())
    finally:
        _watching.append(see)


sys.addaudithook(_hook)


@contextmanager
def watched(see: Callable[[Path], None]) -> Generator[None]:
    """Call ``see`` with the path of whatever is about to be changed. What it raises, the change raises."""
    _watching.append(see)
    try:
        yield
    finally:
        _watching.clear()


@contextmanager
def full_at(name: str) -> Generator[None]:
    """No file that is called so can be written: the disk is full."""

    def see(path: Path) -> None:
        if name in path.name:
            raise OSError(errno.ENOSPC, "no space left")

    with watched(see):
        yield


def full_at_each(names: Collection[str], zones: Zones, run: Callable[[], object]) -> dict[str, list[str]]:
    """What is left in ``zones.tmp`` of ``run`` if the disk is full at each of the files ``names``, which it writes there.

    A child of this process goes on from the first time that a file is written, with a full disk; this process goes on after it,
    with its scratch as it was, so that one run does for all. A child that fails otherwise than by ResourceError leaves ``?``.
    """
    left: dict[str, list[str]] = {}
    this, kept = os.getpid(), zones.root.with_name("kept")

    def see(path: Path) -> None:
        name = next((name for name in names if path.name in (name, f".{name}.{this}.part")), None)
        if name is None or name in left:
            return
        shutil.copytree(zones.tmp, kept)
        if (child := os.fork()) == 0:
            raise OSError(errno.ENOSPC, "no space left")
        _, status = os.waitpid(child, 0)
        left[name] = [entry.name for entry in zones.tmp.iterdir()] + ["?"] * (status != 0)
        shutil.rmtree(zones.tmp)
        kept.rename(zones.tmp)

    status = 1
    try:
        with watched(see):
            run()
    except ResourceError:
        status = 0
    finally:
        if os.getpid() != this:
            os._exit(status)
    return left


def left_by_kills(zones: Zones, run: Callable[[], object], folder: Path) -> list[Zones]:
    """Copies of what SIGKILL leaves of the home at the steps of ``run``: that is what is on the disk at that moment.

    One copy of all that differ in more than scratch and unfinished files, which the next process removes; the last one before a
    folder is moved, for then there is most to remove.
    """
    copies: dict[tuple[tuple[str, int, int], ...], Zones] = {}

    def see(path: Path) -> None:
        files = [file for file in sorted(zones.root.rglob("*")) if file.is_file() and zones.tmp not in file.parents]
        whole = [(file, file.stat()) for file in files if not file.match(UNFINISHED)]
        state = tuple((str(file), about.st_size, about.st_mtime_ns) for file, about in whole)
        if state not in copies or path.is_dir():
            copy = copies.setdefault(state, Zones(folder / str(len(copies))))
            shutil.rmtree(copy.root, ignore_errors=True)
            shutil.copytree(zones.root, copy.root)

    with watched(see):
        run()
    see(zones.root)
    return list(copies.values())
