"""The codebook of a release: a workbook in the shape of the published ones, and a document as HTML and PDF.

Texts come from the codebook and ``data/codebook_document.md``, figures from the release. Frequencies are of the synthetic
records, which are public; figures about people are protected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.partners.registry import PARTNERS
from ctdc_pipeline.privacy.contribution import UNIT
from ctdc_pipeline.privacy.measurements import Measurements
from ctdc_pipeline.products import k_anonymous, measured_figures
from ctdc_pipeline.products.document import Block, Document, Span, parse, plain, write_html, write_pdf
from ctdc_pipeline.products.imprint import imprint
from ctdc_pipeline.products.inputs import Inputs, Released
from ctdc_pipeline.products.records import is_number, stata_name
from ctdc_pipeline.products.story_tables import known
from ctdc_pipeline.storage.workbook import Cell, Sheet, write_workbook

NAME = "codebook"
MOST_COUNTRIES = 10
"""How many of the most frequent countries the document tells; the workbook tells all."""
_TYPES = {"year": "numeric", "category": "string", "country": "string", "flag": "binary numeric"}
Counts = dict[str, int]


def write(inputs: Inputs, folder: Path) -> None:
    """Workbook, HTML page and PDF. Raises OSError, and TableError for a variable without a definition."""
    document = describe(inputs, write_book(inputs, folder))
    write_html(document, folder / f"{NAME}.html")
    write_pdf(document, folder / f"{NAME}.pdf")


def write_book(inputs: Released, folder: Path) -> dict[str, Counts]:
    """The workbook alone, which tells of the records only; returns how many records have each value. Raises as ``write``."""
    require_described(codebook().variables)
    counts = {name: _counts(inputs.synthetic[name], codebook().variable(name)) for name in codebook().names}
    sheets = [
        *([Sheet("INVENTED DATA", [[inputs.notice]], widths=(120,))] if inputs.invented else []),
        Sheet("Main", _main(inputs), widths=(10, 40, 15, 11, 40, 120)),
        Sheet("TabStat", _tabstat(counts, rows=len(inputs.synthetic)), widths=(40, 30, 10, 10, 10, 10)),
        Sheet("Region", _region(), widths=(8, 8, 44, 14, 34)),
    ]
    write_workbook(folder / f"{NAME}.xlsx", sheets, title=f"Codebook of the {inputs.title}")
    return counts


def require_described(variables: Sequence[Variable]) -> None:
    """Refuse a codebook that does not say what a variable is. Raises TableError."""
    if silent := [variable.name for variable in variables if not (variable.definition.strip() and variable.label.strip())]:
        raise TableError(
            f"the codebook does not say what these are: {', '.join(silent)}",
            remedy="Give them a label and a definition in data/codebook.toml.",
        )


def describe(inputs: Inputs, counts: dict[str, Counts]) -> Document:
    """The document: the template's text with the figures and tables of this release."""
    group = k_anonymous.least_group(inputs.k)
    real = k_anonymous.anonymised(inputs.victims, k=group)
    kept = {row["kept"]: row for row in k_anonymous.summary(inputs, real).to_pylist()}
    people = known(inputs.victims, k=inputs.k, aggregates=inputs.aggregates)
    values = {
        "k": inputs.k,
        "length": inputs.length,
        "k_anonymous": group,
        "kept_records": _share(kept["records"]["k_anonymised"]),
        "kept_values": _share(kept["values of its variables"]["k_anonymised"]),
        "synthetic_values": _share(kept["values"]["synthetic"]),
    }
    inserts = {"partners": [_partners(inputs)], "kept": [_kept(list(kept.values()))]}
    return _document(inputs, counts, people, method="k_synthetic", values=values, inserts=inserts)


def write_measured(release: Released, measurements: Measurements, folder: Path) -> None:
    """Workbook, HTML page and PDF of a differentially private release. Raises as ``write``."""
    document = describe_measured(release, measurements, write_book(release, folder))
    write_html(document, folder / f"{NAME}.html")
    write_pdf(document, folder / f"{NAME}.pdf")


def describe_measured(release: Released, measurements: Measurements, counts: dict[str, Counts]) -> Document:
    """The document of a differentially private release: its figures about people are noisy counts."""
    values = {
        "epsilon": measurements.epsilon,
        "delta": measurements.delta,
        "cap": measurements.domain.cap,
        "strict": ", ".join(measurements.domain.strict) or "none",
        "sigma_value": measurements.sigma["values"] / UNIT,
        "sigma_pair": measurements.sigma["pairs"] / UNIT,
    }
    return _document(release, counts, measured_figures.known(measurements), method="measured", values=values, inserts={})


def _document(
    release: Released,
    counts: dict[str, Counts],
    known_values: pa.Table,
    *,
    method: str,
    values: Mapping[str, Any],
    inserts: Mapping[str, Sequence[Block]],
) -> Document:
    """The text of every release, with the sections of ``codebook_<method>.md`` where it names them."""
    records, about = len(release.synthetic), imprint()
    people = {row["variable"]: row for row in known_values.to_pylist()}
    figures = {
        **values,
        "version": release.version,
        "variables": len(codebook().variables),
        "first_year": codebook().first_year,
        "last_year": release.last_year,
        "records": f"{records:,}",
        "codebook": codebook().version,
        "licence": about.licence.title,
        "licence_path": f"[[{about.licence.path}|{about.licence.path}]]",
    }
    variables = [
        (
            str(v.position),
            v.name,
            v.label,
            codebook().groups[v.group],
            _interval(people.get(v.group if v.kind == "flag" else v.name)),
            _percent(sum(counts[v.name].values()), records),
        )
        for v in codebook().variables
    ]
    blocks: dict[str, Sequence[Block]] = {
        **inserts,
        "sources": [Block("item", (Span("strong", f"{name}. "), *plain(said))) for name, said in _about_partners().items()],
        "variables": [
            _table(
                "List of variables",
                ("", "Name", "Label", "Group", "Of people", "Of records"),
                variables,
                numbers=(0, 4, 5),
                wide=(2, 3),
                code=1,
            )
        ],
        "details": list(_all_details(release, counts, people)),
        "cite": [Block("quote", plain(release.citation))],
    }
    for section in _page(f"codebook_{method}.md").format(**figures).split("@ ")[1:]:
        name, _, text = section.partition("\n")
        blocks[name] = parse(text, inserts=blocks)
    title = f"Codebook: {about.dataset}"
    text = _page("codebook_document.md").format(**figures)
    return Document(title, f"Release {release.version}", about.publisher, parse(text, inserts=blocks), release.notice)


def _page(name: str) -> str:
    return (files("ctdc_pipeline.products") / "pages" / name).read_text("utf-8")


def _about_partners() -> dict[str, str]:
    """What is said of each partner, by what it is called."""
    abouts: dict[str, str] = {}
    for partner, sources in PARTNERS.items():
        known = imprint().partners.get(partner)
        abouts |= {known["name"]: known["about"]} if known else {source.title: source.about for source in sources}
    return abouts


def _counts(column: pa.ChunkedArray, variable: Variable) -> Counts:
    """How many records have each value, in the order of the codebook, else of the values themselves."""
    frequency = {row["values"]: row["counts"] for row in column.drop_null().cast(pa.string()).value_counts().to_pylist()}
    return {value: frequency[value] for value in (variable.values or sorted(frequency)) if value in frequency}


def _main(inputs: Released) -> Iterator[Sequence[Cell]]:
    yield ("position", "name", "type", "isnumeric", "label", "notes")
    for variable in codebook().variables:
        meanings = dict(zip(variable.values, variable.meanings, strict=False))
        notes = [variable.definition, *(f"{value}: {meaning}." for value, meaning in meanings.items())]
        notes += [f"In Stata: {stata_name(variable)}."] if stata_name(variable) != variable.name else []
        notes += [f"Also called: {', '.join(variable.aliases)}."] if variable.aliases else []
        number = int(is_number(variable))
        yield (variable.position, variable.name, _TYPES[variable.kind], number, variable.label, " ".join(notes))
    yield ()
    for label, text in {
        "release": inputs.version,
        "codebook": codebook().version,
        "records": len(inputs.synthetic),
        "missing": "An empty cell is a missing value. Flags are 1 or missing; missing does not mean that it did not happen.",
        "rows": f"{inputs.about_rows} The data show detection, not prevalence.",
        "cite": inputs.citation,
    }.items():
        yield (None, label, text)


def _tabstat(counts: dict[str, Counts], *, rows: int) -> Iterator[Sequence[Cell]]:
    yield ("name", "value", "Freq.", "Percent", "Valid %", "Cum. %")
    for name, tally in counts.items():
        valid, so_far = sum(tally.values()), 0
        for value, count in tally.items():
            so_far += count
            number: Cell = int(value) if is_number(codebook().variable(name)) else value
            yield (name, number, count, _of(count, rows), _of(count, valid), _of(so_far, valid))
        yield (name, "Total", valid, _of(valid, rows), _of(valid, valid))
        yield (name, "Missing", rows - valid, _of(rows - valid, rows))


def _region() -> Iterator[Sequence[Cell]]:
    yield ("ISO2", "ISO3", "Country", "UNRegion", "UNSubRegion")
    for country in countries().rows:
        yield (country.iso2, country.iso3, country.name, country.region, country.subregion)


def _all_details(inputs: Released, counts: dict[str, Counts], people: Mapping[str, Mapping[str, Any]]) -> Iterator[Block]:
    """Every variable, under the heading of its group."""
    for group, variables in groupby(codebook().variables, key=lambda variable: variable.group):
        yield Block("heading", plain(codebook().groups[group]), level=2)
        for variable in variables:
            known = _interval(people.get(variable.group if variable.kind == "flag" else variable.name))
            yield from _details(variable, counts[variable.name], inputs, people=known)


def _details(variable: Variable, tally: Counts, inputs: Released, *, people: str) -> Iterator[Block]:
    records, valid = len(inputs.synthetic), sum(tally.values())
    yield Block("heading", plain(f"{variable.position}. {variable.name}"), level=3)
    yield Block(
        "lead",
        (
            Span("strong", f"{variable.label}. "),
            *plain(
                f"Type: {_TYPES[variable.kind]}. Known of {people} of people."
                f" A value stands in {valid:,} of {records:,} records ({_percent(valid, records)})."
            ),
        ),
    )
    yield Block("paragraph", plain(variable.definition))
    if variable.kind == "year":
        yield Block("paragraph", plain(f"Range: {codebook().first_year} to {inputs.last_year}."))
    elif variable.kind == "country":
        most = sorted(tally, key=lambda code: (-tally[code], code))[:MOST_COUNTRIES]
        names = {code: country.name for code in most if (country := countries().get(code))}
        rows = [(code, names.get(code, ""), f"{tally[code]:,}", _percent(tally[code], valid)) for code in most]
        yield Block("paragraph", plain(f"Values: ISO 3166-1 alpha-3 codes, of which {len(tally)} occur. The most frequent are:"))
        yield _table(
            f"Values of {variable.name}", ("Code", "Country", "Records", "Valid %"), rows, numbers=(2, 3), wide=(1,), code=0
        )
    elif variable.kind == "category":
        meanings = dict(zip(variable.values, variable.meanings, strict=False))
        cells = [
            (value, meanings.get(value, ""), f"{tally.get(value, 0):,}", _percent(tally.get(value, 0), valid))
            for value in variable.values
        ]
        head = ("Value", "Meaning" if meanings else "", "Records", "Valid %")
        yield _table(f"Values of {variable.name}", head, cells, numbers=(2, 3), wide=(1,))


def _partners(inputs: Inputs) -> Block:
    rows = [
        (
            row["title"],
            f"{row['victims']:,}" if row["victims"] else "–",
            f"{row['first_year']} to {row['last_year']}" if row["first_year"] else "–",
            row["latest_refresh"] or "–",
            f"{row['state']}; nothing more since {row['stopped']}" if row["stopped"] else row["state"],
        )
        for row in inputs.partners.to_pylist()
    ]
    head = ("Source", "Victims", "Years", "Latest data", "In this release")
    return _table("Partners and coverage", head, rows, numbers=(1,), wide=(0, 4))


def _kept(rows: Sequence[dict[str, str | int | None]]) -> Block:
    told = [
        (label, _share(row["k_anonymised"]), _share(row["synthetic"]))
        for label, row in zip(k_anonymous.TOTALS, rows, strict=False)
    ]
    return _table("What either method keeps", ("Kept", "k-anonymised", "Synthetic"), told, numbers=(1, 2), wide=(0,))


def _table(
    name: str,
    head: tuple[str, ...],
    rows: Sequence[Sequence[str]],
    *,
    numbers: tuple[int, ...] = (),
    wide: tuple[int, ...] = (),
    code: int | None = None,
) -> Block:
    cells = tuple(tuple(plain(cell, "code" if place == code else "plain") for place, cell in enumerate(row)) for row in rows)
    return Block("table", name=name, head=head, rows=cells, numbers=numbers, wide=wide)


def _of(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "–"


def _interval(row: Mapping[str, Any] | None) -> str:
    """Between which percentages of people a variable is known; nothing where that is not reportable."""
    if row is None:
        return "–"
    least, most = f"{row['percentage_from']:.0f}", f"{row['percentage_to']:.0f}"
    return f"{most}%" if least == most else f"{least}–{most}%"


def _share(percent: object) -> str:
    return "–" if percent is None else f"{percent}%"
