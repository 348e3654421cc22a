"""Compile the inner loops, and keep what was compiled where the next process finds it.

numba keeps compiled functions beside their source, else in the user's cache folder, and refuses to compile where it can write to
neither. A service or a container often runs as a user without a home, from an installation that it may not change. There a
process works with a private copy of what was compiled at installation, and removes the copy at its end.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import caching

COMPILED = ("*.nbi", "*.nbc")
"""Files of numba's cache: the index of a function, and its compiled forms."""


def compiling(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles with numba's `options` and caches the result where possible."""
    caching.CacheImpl._locator_classes = _locators()  # pyright: ignore[reportPrivateUsage]

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return nb.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder at all, not even a temporary one
            return nb.njit(**options)(function)

    return decorate


def is_kept(function: Any) -> bool:
    """Return whether an earlier process cached the compiled `function`, so that it need not compile now."""
    folder = getattr(getattr(function, "_cache", None), "cache_path", None)
    name = function.py_func.__qualname__
    return folder is not None and any(Path(folder).glob(f"*.{name}-*.nbi"))


class PrivateCopy(caching.InTreeCacheLocator):
    """Tell numba to keep what it compiles in a folder of this process alone."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._cache_path = str(_private_copy(Path(self._cache_path)))

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> PrivateCopy | None:
        """Return the place, or None where no temporary folder can be made; as numba asks of a locator."""
        try:
            return cls(py_func, py_file)
        except OSError:
            return None


@cache
def _private_copy(folder: Path) -> Path:
    copy = Path(tempfile.mkdtemp(prefix="ctdc-compiled-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for pattern in COMPILED:
        for file in folder.glob(pattern):
            shutil.copy(file, copy)
    return copy


def _locators() -> list[type[Any]]:
    """Return the classes numba asks for a cache folder, in order."""
    unwanted: set[type[Any]] = {PrivateCopy}
    try:
        Path.home()
    except RuntimeError:  # numba would make a folder called ~ in the current folder
        unwanted.add(caching.UserWideCacheLocator)
    usual: list[type[Any]] = caching.CacheImpl._locator_classes  # pyright: ignore[reportPrivateUsage]
    return [*(locator for locator in usual if locator not in unwanted), PrivateCopy]


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_UNCOUNTED: dict[str, Any] = {"_nrt": False}

compiled: Any = compiling(**_OPTIONS)
"""Decorator for compiled functions that allocate arrays. They release the interpreter lock."""
leaf: Any = compiling(**_OPTIONS, **_UNCOUNTED)
"""Decorator for compiled functions that allocate nothing, so that references need not be counted.

Otherwise numba counts references to every array in every call, with atomic operations on which threads wait for one another: that
took more than half of the time.
"""
part: Any = compiling(**_OPTIONS, **_UNCOUNTED, forceinline=True)
"""Decorator for parts of one or two larger functions, as ``leaf``, but compiled into them.

A call would pass every array of every tuple anew: that took a third of the time.
"""
