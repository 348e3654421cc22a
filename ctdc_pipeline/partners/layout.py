"""How an export is described: its columns, codes and their meanings, as data.

The reader, the harmonisation, the sample exports and docs/partners.md all follow from these descriptions. What belongs here is
the vocabulary (field, code, layout, source); the sources themselves are modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import pyarrow as pa

from ctdc_pipeline.codebook import System
from ctdc_pipeline.errors import ParameterError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""Separators of columns that are known, and what they are called."""

Basis = Literal["official", "modelled"]
Type = Literal["text", "code", "date", "integer", "country"]
Role = Literal[
    "case_id",
    "status",
    "registered",
    "birth",
    "age",
    "gender",
    "citizenship",
    "exploitation_country",
    "majority",
    "age_at_exploitation",
    "exploited_from",
    "exploited_to",
    "months",
    "flags",
]


@dataclass(frozen=True)
class Code:
    """One entry of a code list.

    ``means`` depends on the field's role: names of flags (release or detail variables) for ``flags``, one value of the codebook
    for ``gender`` and ``majority``, the name of the exclusion rule for ``status``. Empty: the code is known and says nothing.
    """

    code: str
    label: str
    means: tuple[str, ...] = ()


def codes(*rows: tuple[str, ...]) -> tuple[Code, ...]:
    """A code list from rows of (code, label, meaning...)."""
    return tuple(Code(row[0], row[1], row[2:]) for row in rows)


@dataclass(frozen=True)
class Field:
    """One column of an export.

    ``basis`` says whether the field itself is stated in an official source or modelled by us; names and codes of every layout are
    modelled. ``identifying`` fields stay in ingestion. ``required`` columns must be present, ``filled`` ones have a value in
    every row. ``separator`` splits a multi-select. Fields with a ``role`` take part in harmonisation, all others stop there.
    Several fields may share a role: for ``case_id`` they form the identity together, for ``citizenship`` and
    ``exploitation_country`` the first one with a value counts, ``flags`` add up.
    """

    name: str
    type: Type = "text"
    role: Role | None = None
    codes: tuple[Code, ...] = ()
    basis: Basis = "modelled"
    identifying: bool = False
    required: bool = True
    filled: bool = False
    separator: str = ""
    note: str = ""

    @property
    def multi(self) -> bool:
        return bool(self.separator)


@dataclass(frozen=True)
class Layout:
    """One kind of file. ``blanks`` are texts that mean no value, whatever their case, besides the empty cell.

    ``cells`` reads a file whose headings or pick lists come in several spellings: from its bytes, this layout and its place to
    headings and a table of cells, as ``reading.text_cells`` does.
    """

    title: str
    file_pattern: str
    fields: tuple[Field, ...]
    format: Literal["csv", "xlsx"] = "csv"
    delimiter: str = ","
    encoding: str = "utf-8"
    sheet: str = ""
    date_formats: tuple[str, ...] = ("%Y-%m-%d",)
    countries: System = "name"
    blanks: tuple[str, ...] = ()
    may_be_empty: bool = False
    cells: Callable[..., tuple[list[str], pa.Table]] | None = None

    def having(self, role: Role) -> tuple[Field, ...]:
        """The fields with ``role``, in the order of the layout."""
        return tuple(field for field in self.fields if field.role == role)


@dataclass(frozen=True)
class Source:
    """What one system of one partner sends; ``about`` tells a reader where the data come from.

    ``opt_outs`` removes the people it lists; ``consents`` admits only those it lists. Both name people by the same ``case_id``
    fields as the cases; an entry whose last identity field is blank stands for the whole group (a case, an organisation).
    ``reported_from`` is the first day of reports that may enter.

    ``delivers`` is what a delivery is unless it says so itself: all cases, or those since the last delivery. ``every`` is how
    many months lie between deliveries, if they are expected at all. ``stopped`` is the day from which nothing more comes; what
    came before stays. ``waivable`` are the rules of exclusion by status that an installation may set aside (``admitting``).
    """

    name: str
    partner: str
    title: str
    about: str
    cases: Layout
    opt_outs: Layout | None = None
    consents: Layout | None = None
    reported_from: date | None = None
    delivers: Literal["snapshot", "increment"] = "snapshot"
    every: int | None = None
    stopped: date | None = None
    waivable: tuple[str, ...] = ()

    def admitting(self, rules: Collection[str]) -> Source:
        """This source with rows that ``rules`` would leave out for their status let in. Raises ParameterError.

        Only ``waivable`` rules can be set aside: no setting lets in people who did not consent, or no victims.
        """
        if firm := sorted({*rules} - {*self.waivable}):
            raise ParameterError(
                f"{self.name}: no setting lets these rows in: {', '.join(firm)}",
                remedy=f"Choose among: {', '.join(self.waivable) or 'none'}.",
            )

        def lenient(code: Code) -> Code:
            return replace(code, means=tuple(rule for rule in code.means if rule not in rules))

        fields = tuple(
            replace(field, codes=tuple(map(lenient, field.codes))) if field.role == "status" else field
            for field in self.cases.fields
        )
        return replace(self, cases=replace(self.cases, fields=fields))

    @property
    def layouts(self) -> dict[str, Layout]:
        """Every layout of the source by the name of the table it is read into."""
        kinds = {
            self.name: self.cases,
            f"{self.name}_opt_outs": self.opt_outs,
            f"{self.name}_consents": self.consents,
        }
        return {name: layout for name, layout in kinds.items() if layout}
