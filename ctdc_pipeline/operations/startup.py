"""Start without what a command on a table of one's own never uses."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec


@contextmanager
def absent(name: str) -> Generator[None]:
    """Make the package ``name`` look as if it were not installed, to libraries that look for it inside the block.

    Only for the start of a process of one thread. What is loaded already stays, and afterwards the package can be imported.
    """
    absence = _Absence(name)
    sys.meta_path.insert(0, absence)
    try:
        yield
    finally:
        sys.meta_path.remove(absence)


def load_arrow() -> None:
    """Load pyarrow without pandas, which it otherwise loads with the first array: an eighth of the start of a command.

    Who imports pandas later can exchange tables with pyarrow as ever.
    """
    import pyarrow as pa

    with absent("pandas"):
        pa.array([0])


def load_compiler() -> None:
    """Load numba without scipy, for products of matrices in compiled code, which there are none of: a tenth of the start."""
    with absent("scipy"):
        import numba.np.arraymath  # noqa: F401  # pyright: ignore[reportUnusedImport]


class _Absence:
    """What Python asks first where a module is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Refuse the package, and know of no other."""
        if fullname == self.name:
            raise ModuleNotFoundError(fullname, name=fullname)
        return None
