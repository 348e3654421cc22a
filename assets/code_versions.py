"""The version of the code that makes the tables of a group. It follows from the code, so that nobody has to remember it."""

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import ctdc_pipeline

_BESIDE = Path(__file__).parents[1]
_DOMAIN = Path(ctdc_pipeline.__file__).parents[1]
_IMPORT = re.compile(r"^ *(?:from|import) ((?:ctdc_pipeline|assets|resources)[\w.]*)(?: import (\([^)]*\)|.+))?", re.MULTILINE)
_FACTS = ("*.toml", "*.csv")
"""Files beside a module that decide what it makes, such as the codebook and the layouts."""


@cache
def code_version(group: str) -> str:
    """Twelve hexadecimal digits that change when any file of ``code_of`` the group changes."""
    digest = hashlib.sha256()
    for path in code_of(group):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def code_of(group: str) -> list[Path]:
    """The modules of the assets of ``group``, all modules of ours that these import, and the facts beside them."""
    pending, found = [*(_BESIDE / "assets" / group).glob("*.py")], set[Path]()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imported(path.read_text(encoding="utf-8"))
    facts = {fact for folder in {path.parent for path in found} for pattern in _FACTS for fact in folder.glob(pattern)}
    return sorted(found | facts, key=lambda path: path.parts[-3:])


def _imported(text: str) -> Iterator[Path]:
    for module, names in _IMPORT.findall(text):
        for name in (module, *(f"{module}.{name}" for name in re.findall(r"\w+", names))):
            path = (_DOMAIN if name.startswith("ctdc_pipeline") else _BESIDE) / f"{name.replace('.', '/')}.py"
            if path.is_file():
                yield path
