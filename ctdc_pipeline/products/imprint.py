"""The imprint of a release, from ``data/imprint.toml``: its publisher, terms and citation, and what is said of partners."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

INVENTED = "Invented data: the people in this release do not exist. It demonstrates the software. Do not use, publish or cite it."
"""What every file for people says of a release that is made from samples."""


@dataclass(frozen=True)
class Licence:
    """The terms of use."""

    name: str
    title: str
    path: str


@dataclass(frozen=True)
class Imprint:
    """Who publishes which dataset, where, and under which terms."""

    publisher: str
    homepage: str
    dataset: str
    citation: str
    licence: Licence
    partners: Mapping[str, Mapping[str, str]]
    """``name`` and ``about`` of partners, by their name in the registry."""

    def cite(self, version: str) -> str:
        """How to cite release ``version``, whose year is what it begins with, if it begins with one."""
        year = version[:4] if version[:4].isdigit() else "no year"
        return self.citation.format(version=version, year=year)


@cache
def imprint() -> Imprint:
    """What the file says, read once."""
    data: dict[str, Any] = tomllib.loads((files("ctdc_pipeline.products") / "pages" / "imprint.toml").read_text("utf-8"))
    licence, others = Licence(**data.pop("licence")), data
    return Imprint(licence=licence, **others)
