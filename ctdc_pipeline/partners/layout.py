"""Describe exports as data: their columns, their codes and what the codes mean.

The reader, the harmonisation, the sample exports and docs/partners.md all follow from these descriptions. This module defines
the vocabulary (field, code, layout, source); the sources themselves are TOML files beside it, which ``loading`` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import pyarrow as pa

from ctdc_pipeline.codebook.countries import System
from ctdc_pipeline.errors import ParameterError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""The accepted column separators, and their names."""

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
ROLE_TYPES: dict[Role, Type] = {
    "case_id": "text",
    "status": "code",
    "registered": "date",
    "birth": "date",
    "age": "integer",
    "gender": "code",
    "citizenship": "country",
    "exploitation_country": "country",
    "majority": "code",
    "age_at_exploitation": "integer",
    "exploited_from": "date",
    "exploited_to": "date",
    "months": "integer",
    "flags": "code",
}
"""The type that a field with this role must have."""
_PLAIN: dict[Type, str] = {
    "text": "text",
    "code": "a code",
    "date": "a date",
    "integer": "a whole number",
    "country": "a country",
}
"""The name of each type in words."""


@dataclass(frozen=True)
class Code:
    """One entry of a code list.

    ``means`` depends on the field's role: names of flags (release or detail variables) for ``flags``, one value of the codebook
    for ``gender`` and ``majority``, the name of the exclusion rule for ``status``. If it is empty, the code is known and means
    nothing.
    """

    code: str
    label: str
    means: tuple[str, ...] = ()


def codes(*rows: tuple[str, ...]) -> tuple[Code, ...]:
    """Build a code list from rows of (code, label, meaning...)."""
    return tuple(Code(row[0], row[1], row[2:]) for row in rows)


@dataclass(frozen=True)
class Field:
    """One column of an export.

    ``basis`` says whether the field itself is documented in an official source or modelled by us; names and codes of every
    layout are modelled. ``identifying`` fields are not used after ingestion. ``required`` columns must be present, ``filled``
    columns must have a value in every row. ``separator`` splits a multi-select. Only fields with a ``role`` take part in
    harmonisation. Several fields may share a role: ``case_id`` fields form the identity together, for ``citizenship`` and
    ``exploitation_country`` the first one with a value counts, and ``flags`` add up.
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
        """Whether a cell may contain several values."""
        return bool(self.separator)

    @property
    def about(self) -> str:
        """Describe the column in words, for the catalogue.

        docs/partners.md shows the same as a table.
        """
        listed = f"one of {len(self.codes)} codes" if self.codes else _PLAIN[self.type]
        kind = f"{len(self.codes)} codes, several separated by {self.separator}" if self.multi else listed
        role = f"used as {self.role}" if self.role else "stays in ingestion"
        marks = [mark for mark, holds in (("identifying", self.identifying), ("always filled", self.filled)) if holds]
        facts = "; ".join([kind, role, *marks])
        return ". ".join(filter(None, (self.note.rstrip("."), facts[0].upper() + facts[1:]))) + "."


@dataclass(frozen=True)
class Layout:
    """One kind of file.

    ``blanks`` are texts that mean "no value", in any case, besides the empty cell. ``cells`` reads files whose headings or pick
    lists exist in several spellings. It takes the bytes, this layout and the ``InputFile``, and returns headings and a table of
    cells, like ``reading.text_cells``.
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
        """Return the fields with ``role``, in the order of the layout."""
        return tuple(field for field in self.fields if field.role == role)


@dataclass(frozen=True)
class Source:
    """What one system of one partner sends; ``about`` tells readers where the data come from.

    ``opt_outs`` lists people to leave out; ``consents`` lists the only people to admit. Both identify people by the same
    ``case_id`` fields as the cases; an entry whose last identity field is blank applies to the whole group (a case, an
    organisation). Cases reported before ``reported_from`` are not admitted.

    ``delivers`` is the kind of a delivery that does not state its kind: all cases, or those since the last delivery. ``every``
    is the number of months between deliveries, if they are expected at all. After the day ``stopped`` no more deliveries are
    expected; earlier ones stay. ``waivable`` are the exclusion rules by status that an installation may set aside
    (``admitting``).
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
        """Return this source without the exclusion rules by status in ``rules``.

        Only ``waivable`` rules can be set aside: no setting admits people who did not consent, or people who are not victims.

        Raises:
            ParameterError: If a rule of ``rules`` is not waivable.
        """
        if not_waivable := sorted({*rules} - {*self.waivable}):
            raise ParameterError(
                f"{self.name}: no setting lets these rows in: {', '.join(not_waivable)}",
                remedy=f"Choose among: {', '.join(self.waivable) or 'none'}.",
            )

        def without_rules(code: Code) -> Code:
            return replace(code, means=tuple(rule for rule in code.means if rule not in rules))

        fields = tuple(
            replace(field, codes=tuple(map(without_rules, field.codes))) if field.role == "status" else field
            for field in self.cases.fields
        )
        return replace(self, cases=replace(self.cases, fields=fields))

    @property
    def layouts(self) -> dict[str, Layout]:
        """Every layout of the source, by the name of the table that it is read into."""
        kinds = {
            self.name: self.cases,
            f"{self.name}_opt_outs": self.opt_outs,
            f"{self.name}_consents": self.consents,
        }
        return {name: layout for name, layout in kinds.items() if layout}


BY_STATUS = ("opted-out", "individual-without-consent", "pending", "not-confirmed", "not-a-victim", "test-record")
"""Exclusion rules that a status code can mean."""
WAIVABLE = ("pending", "not-confirmed")
"""Exclusion rules that a layout may allow an installation to set aside."""
