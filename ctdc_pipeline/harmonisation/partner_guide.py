"""Write docs/partners.md from the layouts and rules, so that it cannot disagree with them.

``python -m ctdc_pipeline.harmonisation.partner_guide > docs/partners.md`` updates the committed file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.harmonisation.derivation import RULES
from ctdc_pipeline.harmonisation.exclusions import EXCLUSIONS
from ctdc_pipeline.partners.layout import DELIMITERS, Field, Layout, Source
from ctdc_pipeline.partners.registry import SOURCES

_COUNTRIES = {
    "iom": "IOM's codes: ISO 3166-1 alpha-2 and its own (`Y1` Kosovo, `TB` Tibet and others)",
    "iso2": "ISO 3166-1 alpha-2",
    "iso3": "ISO 3166-1 alpha-3",
    "name": "names, in any usual form",
    "portuguese": "Portuguese names, or what their people are called",
}

_INTRODUCTION = """# Partner exports

<!-- Written by `python -m ctdc_pipeline.harmonisation.partner_guide` from the layouts; edit those, not this file. -->

Real exports are not public. Names of files, columns and codes are therefore **modelled**, all of them. A field is
marked *official* where an official source says that the partner records it, *modelled* where we supply it because a
system of that kind would. *Identifying* fields are read and never leave ingestion.

Text files are UTF-8, with or without a byte order mark; other encodings are refused. They end with a line break, so
that a file cut off in transit is noticed. Rows are counted from 1 below the headings. Headings, codes and identities
are compared as they look: compatible characters (digits of any script, accents in two parts, dashes) are one, invisible
characters do not count, and white space of any kind is one space. Codes are recognised in upper and lower
case alike. Identities keep their case: `aB1` and `AB1` are two people, and a list that names a case in other upper
and lower case puts its rows in quarantine. An unknown column is kept out and reported; a missing required one refuses
the file.

Of a workbook every cell is read from the sheet that the layout names; the hidden rows, too. A formula, with all cells
that it fills, and an error such as `#N/A` put their row in quarantine. These refuse the file: cells merged below the
headings, another sheet with the same headings, a number with more digits than a workbook keeps, and cells out of order.
A date with a time of day is that day.

## What every source has in common

- **Identity.** The *case_id* fields together identify a case within its source, in any case of letters. Rows whose
  identities differ in how they were written but look the same are quarantined. Harmonised records carry HMAC-SHA256
  of them under the key of the installation, and nothing else that names anybody; the pseudonym itself is dropped
  before synthesis.
- **Year of registration** is the year of the *registered* field.
- **Age** at registration: completed years from the day of birth where there is one, else the stated age, in bands.
  The two may differ by one year; by more is a conflict.
- **Minor or adult when exploitation began**: as coded, else by the age at that time, else by the day of birth and the
  first day of exploitation.
- **Duration**: completed months between first and last day of exploitation where both are given, else the stated
  months, in bands.
- **Citizenship** is the first *citizenship* field with a value.
- **Country of exploitation** is the first *exploitation_country* field with a value, in the order shown under each
  source. The official text names IOM's four points and not their order; ours, from the exploitation itself to the
  office that wrote it down, can be replaced (`proxies` of the resource `engine`).
- **Flags** are 1 where a code says so and missing otherwise; "no" and blank are alike missing. Details of harmonised
  records count in the release as the variable they merge into.
- **Serbia** includes Kosovo and **China** includes Tibet. IOM's `TP`, `Y2`, `Y3` and `ZR` have one successor each
  (Timor-Leste, Montenegro, Serbia, the Democratic Republic of the Congo). `YU` has two, so it is an unknown country.

## Rows that do not enter

A row is left out, accepted or sent to quarantine, and counted as exactly one of these. Rules that leave a row out
come first, in this order: nobody looks at the errors of a person who opted out. Duplicates are looked for last, among
rows that could enter. Some partners' sections name rules that an installation may set aside (`admits` of the resource
`engine`); consent, opt-outs and who is no victim are never among them.
"""


def partners_markdown() -> str:
    """Return the text of docs/partners.md."""
    parts = [_INTRODUCTION, _table(("Left out by", "Because"), EXCLUSIONS.items())]
    parts += [_table(("Quarantined by", "Because"), RULES.items()), _REFUSED]
    parts += [section for source in SOURCES.values() for section in _source(source)]
    return "\n".join(parts)


_REFUSED = """A whole delivery is refused, with nothing taken in, when a file is missing, empty, cut off, too large, of the wrong
encoding or separator, protected by a password, or lacks rows or required columns; when the opt-out list matches no
case at all (its numbers must then be of another kind, and publishing would include people who asked to be left out;
single entries without a case are a warning); when the consent register lacks the organisation that sent a file. A
consenting organisation that sent nothing is a warning. A person in the consent register with both a yes and a no has
not consented.
"""


def _source(source: Source) -> Iterable[str]:
    yield f"## {source.title}\n"
    yield f"Source `{source.name}` of partner `{source.partner}`. {source.about}\n"
    field_names = [f"`{field.name}`" for field in source.cases.having("exploitation_country")]
    yield f"Country of exploitation from {', then '.join(field_names)}.\n"
    if source.waivable:
        yield f"An installation may let in rows left out as {' or '.join(f'`{rule}`' for rule in source.waivable)} (`admits`).\n"
    for layout in source.layouts.values():
        yield from _layout(layout)


def _layout(layout: Layout) -> Iterable[str]:
    kind = (
        f"Excel workbook, sheet `{layout.sheet}`" if layout.format == "xlsx" else f"CSV, {DELIMITERS[layout.delimiter]}-separated"
    )
    date_formats = " or ".join(f"`{form}`" for form in layout.date_formats)
    blanks = f" Also blank: {', '.join(f'`{blank}`' for blank in layout.blanks)}." if layout.blanks else ""
    yield f"### {layout.title}\n"
    yield f"Files `{layout.file_pattern}`, {kind}. Dates {date_formats}. Countries: {_COUNTRIES[layout.countries]}.{blanks}\n"
    rows = (
        (f"`{field.name}`", _type(field), field.role or "", field.basis, _marks(field), field.note) for field in layout.fields
    )
    yield _table(("Field", "Type", "Used as", "Basis", "Marks", "Note"), rows)
    coded_fields = [field for field in layout.fields if field.codes and [code.code for code in field.codes] != ["Yes", "No"]]
    if coded_fields:
        yield "Code lists:\n"
        yield _table(
            ("Field", "Code", "Label", "Means"),
            ((f"`{f.name}`", f"`{code.code}`", code.label, _means(code.means)) for f in coded_fields for code in f.codes),
        )
    yes_no_fields = [field for field in layout.fields if field.codes and field not in coded_fields and field.role == "flags"]
    if yes_no_fields:
        yield "Yes or no, where yes means:\n"
        yield _table(("Field", "Means"), ((f"`{f.name}`", _means(f.codes[0].means)) for f in yes_no_fields))


def _type(field: Field) -> str:
    return f"{field.type}, several separated by `{field.separator}`".replace("|", "\\|") if field.multi else field.type


def _marks(field: Field) -> str:
    marks = {"identifying": field.identifying, "always filled": field.filled, "may be absent": not field.required}
    return ", ".join(mark for mark, holds in marks.items() if holds)


def _means(means: tuple[str, ...]) -> str:
    merged = {detail.name: detail.merges_into for detail in codebook().details}
    return ", ".join(f"{name} (in {merged[name]})" if merged.get(name) else name for name in means)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(partners_markdown())
