"""The checks of the quality report: every figure in its tables is computed anew from the other files.

Read is what people read: the tables of the page, not data behind them. Its prose and its plots are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.checks import AGGREGATES, CHANGES, RECORDS, REPORT, ROUNDING, Aggregates, Contents

SUMMARY = "global_dataset_k_anonymised_summary.csv"
ANONYMISED = "global_dataset_k_anonymised.csv"
KNOWN = "known_values.csv"
TOTALS = ("records", "values of its variables", "values")
"""The first rows of ``SUMMARY``."""
USES = (("good", 0.1), ("with care", 0.2), ("use the counts instead", np.inf))
"""What the records can be used for, up to which error of a pair of variables."""
NO_USE = "nothing to tell"
EDGES = (1, 2, 5, 10, 100)
"""Where the ranges of counts begin, in multiples of k."""
NONE = "–"

Cell = str | float | None
"""What a cell must say: a text; or a share of 1 or none, which it tells in percent."""
Rows = Sequence[Sequence[Cell]]


def check_report(contents: Contents, codes: recount.Codes | None, aggregates: Aggregates | None) -> None:
    """Check the report, where there is one and what it tells of can be read."""
    files = (REPORT, CHANGES, SUMMARY, ANONYMISED)
    if REPORT not in contents.manifest["files"] or not all((contents.folder / name).is_file() for name in files):
        return
    in_report, changes = contents.read(REPORT, page_tables), contents.read(CHANGES, _changes)
    kept, real = contents.table(SUMMARY), contents.table(ANONYMISED)
    if codes is None or aggregates is None or any(content is None for content in (in_report, changes, kept, real)):
        return
    findings = contents.findings
    named = kept is not None and kept.column_names[:1] == ["kept"] and kept["kept"].to_pylist() == [*TOTALS, *codebook().names]
    findings.require("report", named, f"{SUMMARY}: tells of something else than records, values and variables")
    wanted: dict[str, Rows] = {}
    with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
        expected = {
            **_said(contents, aggregates, real=real),
            **_utility(contents, aggregates),
            **_kept(contents, aggregates, kept, real),
        }
        sizes = np.unique((codes >= 0).sum(axis=1), return_counts=True)
        expected["sizes"] = [(str(size), _count(rows)) for size, rows in zip(*sizes, strict=True)]
        pair = [(row[at],) for row in expected["lengths"][1:2] if isinstance(row[4], float) for at in (5, 4)]
        expected["headlines"] = [*pair, (str(contents.k),), ("0",)]
        expected |= _pairs(contents, aggregates)
        if KNOWN in contents.manifest["files"] and (people := contents.table(KNOWN)) is not None:
            expected["known"] = [
                (_count(int(row["count"])), f"{float(row['percentage_from']):.1f}% to {float(row['percentage_to']):.1f}%")
                for row in people.to_pylist()
            ]
        wanted = {**expected, **changes}
    for name in wanted:
        findings.require("report", _alike(in_report.get(name, []), wanted[name]), f"{REPORT}: {name} tells other figures")
    partners = _partners(in_report.get("partners", []), contents)
    findings.require("report", partners, f"{REPORT}: partners tells other sources or states, or victims that are not rounded")
    others = len(in_report.keys() - wanted.keys() - {"partners"})
    findings.require("report", not others, f"{REPORT}: {others} tables that nothing explains")
    findings.note("report", f"{len(in_report)} tables")


def _said(contents: Contents, aggregates: Aggregates, *, real: pa.Table) -> dict[str, Rows]:
    """What the manifest says too."""
    manifest, proof, software = contents.manifest, contents.manifest["proof"], contents.manifest["software"]
    looked_at = (
        f"{_count(proof['distinct_records'])} distinct records",
        f"{_count(proof['synthetic_records'])} records",
        f"{_count(len(aggregates.keys[1]))} values",
        f"{_count(proof['aggregates'])} aggregates",
        f"{_count(len(real))} records",
        "all published counts",
    )
    by = ("disclosure",) * 4 + ("anonymity", "differencing")
    parameters = (
        manifest["version"],
        manifest["previous"] or "none",
        manifest["k"],
        manifest["reporting_length"],
        manifest["last_year"],
    )
    core = ", ".join(manifest["core"]) or "none"
    versions = (f"{software['name']} {software['version']}", manifest["codebook"])
    return {
        "proof": [(what, "0", module) for what, module in zip(looked_at, by, strict=True)],
        "homogeneity": [(f"{proof['homogeneous_percent']}%",)],
        "files": [(manifest["files"][name],) for name in (f"{RECORDS}.csv", AGGREGATES, ANONYMISED)],
        "parameters": [(str(value),) for value in (*parameters, core, *versions)],
        "suppressed": [(_count(number),) for number in manifest["suppressed_values"].values()],
    }


def _utility(contents: Contents, aggregates: Aggregates) -> dict[str, Rows]:
    """How the records keep the reported counts: by length, and by length and count."""
    edges = [contents.k * edge for edge in EDGES]
    names = [*(f"{low:,}–{high - 1:,}" for low, high in pairwise(edges)), f"{edges[-1]:,} or more"]
    lengths: list[Sequence[Cell]] = []
    counts: list[Sequence[Cell]] = []
    for size, actual in aggregates.counts.items():
        held = aggregates.held[size]
        lengths.append((str(size), *_measures(actual, held)))
        which = np.searchsorted(edges, actual, side="right") - 1
        counts += [(str(size), name, *_measures(actual[which == at], held[which == at])) for at, name in enumerate(names)]
    return {"lengths": lengths, "counts": counts}


def _pairs(contents: Contents, aggregates: Aggregates) -> dict[str, Rows]:
    """How the records keep the reported counts of each pair of variables, and how many pairs have each use."""
    labels = [variable.label for variable in codebook().variables]
    size = len(labels)
    rows: list[Sequence[Cell]] = []
    uses = {**{use: 0 for use, _ in USES}, NO_USE: size * (size - 1) // 2}
    if 2 in aggregates.sets:
        columns = contents.numbering.column[aggregates.sets[2]]
        which = columns[:, 0] * size + columns[:, 1]
        for pair in np.unique(which).tolist():
            actual, held = aggregates.counts[2][which == pair], aggregates.held[2][which == pair]
            error = float(np.abs(held - actual).sum() / actual.sum())
            use = next(use for use, most in USES if error <= most)
            uses[use] += 1
            uses[NO_USE] -= 1
            first, second = labels[pair // size], labels[pair % size]
            rows.append((first, second, use, error, float(held.sum() / actual.sum()), _count(len(actual))))
    return {"uses": [(use, _count(number)) for use, number in uses.items()], "pairs": rows}


def _measures(actual: recount.Ints, held: recount.Ints) -> tuple[Cell, ...]:
    """Told, lost, share lost, kept and error."""
    lost = int((held == 0).sum())
    if not len(actual):
        return ("0", "0", None, None, None)
    kept = float((np.minimum(held, actual) / np.maximum(actual, 1)).mean())
    return (
        _count(len(actual)),
        _count(lost),
        lost / len(actual),
        kept,
        float(np.abs(held - actual).sum() / max(1, actual.sum())),
    )


def _kept(contents: Contents, aggregates: Aggregates, kept: pa.Table, real: pa.Table) -> dict[str, Rows]:
    """What either dataset keeps, as the table beside the k-anonymised dataset has it."""
    rows = kept.to_pylist()
    lists, numbering = contents.numbering.lists, contents.numbering
    reported = np.bincount(numbering.column[aggregates.keys[1]], minlength=len(lists)).tolist()
    labels = {variable.name: variable.label for variable in codebook().variables}
    variables = [
        (
            labels.get(row["kept"], ""),
            f"{reported[list(lists).index(row['kept'])]} of {len(lists[row['kept']])}" if row["kept"] in lists else "",
            _percent(row["k_anonymised"]) if row["kept"] in real.column_names else NONE,
            _percent(row["synthetic"]),
        )
        for row in rows[3:]
    ]
    return {
        "kept": [tuple(_percent(row[name]) for name in ("k_anonymised", "synthetic")) for row in rows[:3]],
        "variables": variables,
    }


def _partners(rows: Sequence[Sequence[str]], contents: Contents) -> bool:
    """Whether the sources stand there as in the manifest, each with a rounded number of victims, in years of the release."""
    with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
        for row, source in zip(rows, contents.manifest["deliveries"].values(), strict=True):
            _, victims, years, latest, state = row
            number = contents.k if victims == NONE else int(victims.replace(",", ""))
            rounded = number >= contents.k and number % contents.k == 0
            known = years == NONE or set(years.split(NONE)) <= set(contents.numbering.lists["yearOfRegistration"])
            stopped = f"; stopped {source['stopped']}" if source["stopped"] else ""
            if not rounded or not known or (latest, state) != (source["latest_refresh"] or NONE, source["state"] + stopped):
                return False
        return True
    return False


def _alike(written: Rows, wanted: Rows) -> bool:
    """Whether a table tells the rows that are wanted; its first columns may say in words what they are about."""
    if len(written) != len(wanted):
        return False
    pairs = zip(written, wanted, strict=True)
    return all(len(row) >= len(cells) and all(map(_same, row[len(row) - len(cells) :], cells)) for row, cells in pairs)


def _same(written: Cell, wanted: Cell) -> bool:
    if wanted is None or isinstance(wanted, str):
        return written == (wanted or (NONE if wanted is None else ""))
    number = str(written).removesuffix("%")
    return number != written and number.replace(".", "", 1).isdecimal() and abs(float(number) - 100 * wanted) <= ROUNDING


def _percent(number: str | None) -> str:
    return NONE if number is None else f"{number}%"


def _count(number: int) -> str:
    return f"{number:,}"


def page_tables(path: Path) -> dict[str, list[list[str]]]:
    """The tables of a page by id, their rows as texts. Raises one of the errors that readers raise."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.tables


class _Reader(HTMLParser):
    """The cells of tables and of lists of terms that have an id, without their headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in ("table", "dl"):
            if attributes.get("id", "") in self.tables:
                raise ValueError("two tables of one name")
            self._rows = self.tables[attributes.get("id") or ""] = []
        elif self._rows is not None and tag in ("tr", "dt"):
            self._rows.append([])
        self._inside = tag in ("td", "th", "dd") and attributes.get("class") != "bar" and bool(self._rows)
        if self._inside and self._rows:
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("table", "dl"):
            self._rows = None
        if tag == "thead" and self._rows:
            self._rows.clear()
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and self._rows:
            self._rows[-1][-1] += data


def _changes(path: Path) -> dict[str, Rows]:
    """The tables of the changes, as the report names them. Raises one of the errors that readers raise."""
    tables: dict[str, Rows] = {}
    for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, *lines = part.splitlines()
        if rows := [line[2:-2].split(" | ") for line in lines if line.startswith("|")]:
            tables[f"since-{title.lower()}"] = rows[2:]
    return tables
