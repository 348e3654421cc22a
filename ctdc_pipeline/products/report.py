"""The quality and disclosure report: one page on what a release guarantees, what it keeps of the truth, and what it gave up.

Every figure in it is public beside it, or follows from what is: utility is what anyone finds who counts the released records
and compares with the reportable aggregates. So the page tells nothing that the release does not tell, the differencing gate has
read what it is made of, and ``ctdc verify`` finds its figures anew. The complete records are not looked at, and must not be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products import charts, k_anonymous, story_tables
from ctdc_pipeline.products.changelog import Listing
from ctdc_pipeline.products.dictionary import AGGREGATES
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.products.page import page
from ctdc_pipeline.products.records import NAME as RECORDS
from ctdc_pipeline.products.uses import USES, Pair, pairs
from ctdc_pipeline.quality.evaluation import BUCKETS, Bucket, kept
from ctdc_pipeline.storage.files import sha256

FILE = "quality_report.html"
PROVED = (f"{RECORDS}.csv", f"{AGGREGATES}.csv", f"{k_anonymous.NAME}.csv")
"""The files that the proofs read."""


def write(inputs: Inputs, folder: Path, *, manifest: Mapping[str, Any], changes: Sequence[Listing]) -> dict[str, str]:
    """Write the quality report.

    Args:
        inputs: what a release is made of.
        folder: all other products, and where the report goes.
        manifest: what the proofs found, and who delivered.
        changes: what ``changelog.since`` returns.

    Returns:
        The plots of the report as SVG, by name.

    Raises:
        OSError: a file cannot be written.
    """
    kept_values = _read(folder / f"{k_anonymous.SUMMARY}.csv")
    buckets = kept(inputs.aggregates, inputs.synthetic, k=inputs.k, length=inputs.length)
    lengths = [bucket for bucket in buckets if bucket.least == inputs.k and bucket.most is None]
    compared = pairs(inputs.aggregates, inputs.synthetic)
    filled = np.sum([inputs.synthetic[name].is_valid().to_numpy() for name in codebook().names], axis=0, dtype=np.int64)
    sizes = [(int(size), int(rows)) for size, rows in zip(*np.unique(filled, return_counts=True), strict=True)]
    tables = {
        "proof": _proof(inputs, manifest, real=len(_read(folder / PROVED[2]))),
        "homogeneity": _table(
            ("What is not protected", "Share of distinct records"),
            [("Records whose people all share a further value", f"{manifest['proof']['homogeneous_percent']}%")],
        ),
        "sizes": _table(("Values in a record", "Synthetic records"), [(str(size), _count(rows)) for size, rows in sizes]),
        "lengths": _utility("Values combined", [(str(one.length), one) for one in lengths]),
        "counts": _table(
            ("Values combined", "Actual count", *_MEASURES),
            [(str(one.length), _range(one), *_measured(one)) for one in buckets if one not in lengths],
        ),
        "uses": _uses(compared),
        "pairs": _pairs(compared),
        "known": _known(_read(folder / f"{story_tables.KNOWN}.csv")),
        "kept": _kept(kept_values.slice(0, 3)),
        "variables": _variables(inputs, kept_values.slice(3)),
        "suppressed": _table(
            ("Variable", "Values suppressed"),
            [(codebook().variable(name).label, _count(number)) for name, number in manifest["suppressed_values"].items()],
        ),
        "partners": _partners(inputs),
        **{f"since-{part.title.lower()}": part for part in changes},
        "parameters": _parameters(manifest),
        "files": Listing(("File", "SHA-256"), tuple((name, sha256(folder / name)) for name in PROVED)),
    }
    plots = _plots(inputs, lengths, [one for one in buckets if one not in lengths], sizes)
    words: dict[str, Any] = {
        "tables": tables,
        "plots": plots,
        "marks": [(charts.mark(place), one.length) for place, one in enumerate(lengths)],
        "shares": [charts.share(row["synthetic"], _anonymised(row)) for row in kept_values.slice(3).to_pylist()],
        "changes": changes,
        "headlines": _headlines(inputs, lengths),
        "meanings": USES,
        "manifest": manifest,
        "least": k_anonymous.least_group(inputs.k),
        "pair": next((one.fidelity for one in lengths if one.length == 2), None),
    }
    (folder / FILE).write_bytes(
        page("report.html", version=inputs.version, k=inputs.k, length=inputs.length, notice=inputs.notice, **words)
    )
    return plots


_MEASURES = ("Told", "Lost", "Share lost", "Kept", "Error")


def _measured(bucket: Bucket) -> tuple[str, ...]:
    fidelity = bucket.fidelity
    lost = fidelity.lost / fidelity.common if fidelity.common else None
    return (
        _count(fidelity.common),
        _count(fidelity.lost),
        _share(lost),
        _share(fidelity.preservation),
        _share(fidelity.relative_error),
    )


def _range(bucket: Bucket) -> str:
    return f"{bucket.least:,} or more" if bucket.most is None else f"{bucket.least:,}–{bucket.most:,}"


def _utility(first: str, rows: Sequence[tuple[str, Bucket]]) -> Listing:
    return _table((first, *_MEASURES), [(label, *_measured(bucket)) for label, bucket in rows])


def _headlines(inputs: Inputs, lengths: Sequence[Bucket]) -> list[tuple[str, str]]:
    """The few figures to take home, what limits the use of the records first."""
    headlines: list[tuple[str, str]] = []
    if len(lengths) > 1 and (pair := lengths[1].fidelity).common:
        headlines += [
            (
                "error of pairs of values: the sum of all differences, in percent of all actual counts",
                _share(pair.relative_error),
            ),
            ("of the actual count of a pair of values is kept, on average", _share(pair.preservation)),
        ]
    return [
        *headlines,
        ("the fewest people behind any record or count", str(inputs.k)),
        (f"groups of fewer than {inputs.k} found by any of the proofs", "0"),
    ]


def _uses(compared: Sequence[Pair]) -> Listing:
    """How many pairs of variables there are of each use."""
    return _table(
        ("Use of the records", "Pairs of variables"), [(use, _count(sum(p.use == use for p in compared))) for use in USES]
    )


def _pairs(compared: Sequence[Pair]) -> Listing:
    """Every pair of variables with reportable combinations, and what the records are good for with it."""
    label = {variable.name: variable.label for variable in codebook().variables}
    rows = [
        (label[p.first], label[p.second], p.use, _share(p.error), _share(p.kept), _count(p.reportable))
        for p in compared
        if p.error is not None
    ]
    head = ("Variable", "With", "Use of the records", "Error", "Records by people", "Combinations compared")
    return Listing(head, tuple(rows), numbers=(3, 4, 5))


def _known(known_values: pa.Table) -> Listing:
    """Of how many people each variable, or group of flags, is known."""
    label = dict(codebook().groups) | {variable.name: variable.label for variable in codebook().variables}
    rows = [
        (label[row["variable"]], _count(row["count"]), f"{row['percentage_from']:.1f}% to {row['percentage_to']:.1f}%")
        for row in known_values.to_pylist()
    ]
    return _table(("Variable, or any flag of a group", "People of whom it is known", "Share of people"), rows)


def _proof(inputs: Inputs, manifest: Mapping[str, Any], *, real: int) -> Listing:
    proof = manifest["proof"]
    reported = int(np.sum(inputs.aggregates["length"].to_numpy() == 1))
    group = k_anonymous.least_group(inputs.k)
    rows = (
        (
            f"All that a synthetic record says, however long, is true of at least {inputs.k} sensitive records",
            f"{_count(proof['distinct_records'])} distinct records",
            _count(proof["rare_records"]),
            "disclosure",
        ),
        (
            "No synthetic record is empty",
            f"{_count(proof['synthetic_records'])} records",
            _count(proof["empty_records"]),
            "disclosure",
        ),
        (
            f"Each value is in as many synthetic records as in sensitive ones, rounded down to a multiple of {inputs.k}",
            f"{_count(reported)} values",
            _count(proof["inexact_counts"]),
            "disclosure",
        ),
        (
            f"Each reportable aggregate is at least {inputs.k}, and the actual count rounded down",
            f"{_count(proof['aggregates'])} aggregates",
            _count(proof["wrong_aggregates"]),
            "disclosure",
        ),
        (
            f"Each row of the k-anonymised dataset is there {group} times or a multiple of it, no value more often than true",
            f"{_count(real)} records",
            "0",
            "anonymity",
        ),
        (
            f"No group smaller than {inputs.k} follows by subtraction, within this release or from it and any before",
            "all published counts",
            "0",
            "differencing",
        ),
    )
    return Listing(("What was checked", "Looked at", "Found wrong", "By"), rows, numbers=(2,))


def _kept(rows: pa.Table) -> Listing:
    told = [
        (label, *(_percent(row[name]) for name in ("k_anonymised", "synthetic")))
        for label, row in zip(k_anonymous.TOTALS, rows.to_pylist(), strict=True)
    ]
    return _table(("Share kept", "k-anonymised", "Synthetic"), told)


def _variables(inputs: Inputs, rows: pa.Table) -> Listing:
    """By variable: how many of its values are told of how many there could be, and what either dataset keeps of them."""
    single = inputs.aggregates.filter(inputs.aggregates["length"].to_numpy() == 1)["variable_1"].to_pylist()
    listed = {variable.name: len(variable.values) for variable in codebook().variables}
    listed |= {variable.name: len(countries().rows) for variable in codebook().variables if variable.kind == "country"}
    listed |= {v.name: inputs.last_year - codebook().first_year + 1 for v in codebook().variables if v.kind == "year"}
    told = [
        (
            codebook().variable(row["kept"]).label,
            f"{single.count(row['kept'])} of {listed[row['kept']]}",
            _percent(_anonymised(row)),
            _percent(row["synthetic"]),
        )
        for row in rows.to_pylist()
    ]
    return _table(("Variable", "Values told", "k-anonymised", "Synthetic"), told)


def _anonymised(row: Mapping[str, Any]) -> int | None:
    """What the k-anonymised dataset keeps of a variable; nothing is to be said of one that it is not meant to have."""
    return row["k_anonymised"] if row["kept"] in k_anonymous.quasi_identifiers() else None


def _partners(inputs: Inputs) -> Listing:
    rows = [
        (
            row["title"],
            _count(row["victims"]) if row["victims"] else "–",
            f"{row['first_year']}–{row['last_year']}" if row["first_year"] else "–",
            row["latest_refresh"] or "–",
            f"{row['state']}; stopped {row['stopped']}" if row["stopped"] else row["state"],
        )
        for row in inputs.partners.to_pylist()
    ]
    return Listing(("Source", "Victims", "Years", "Latest data", "In this release"), tuple(rows), numbers=(1,))


def _parameters(manifest: Mapping[str, Any]) -> Listing:
    rows = {
        "Release": manifest["version"],
        "Release before": manifest["previous"] or "none",
        "k, the fewest people behind anything told": str(manifest["k"]),
        "Reporting length, the most values counted together": str(manifest["reporting_length"]),
        "Last year of registration": str(manifest["last_year"]),
        "Core variables, whose pairs are closest": ", ".join(manifest["core"]) or "none",
        "Software": f"{manifest['software']['name']} {manifest['software']['version']}",
        "Codebook": str(manifest["codebook"]),
    }
    return Listing(("Parameter", "Value"), tuple(rows.items()))


def _plots(
    inputs: Inputs, lengths: Sequence[Bucket], buckets: Sequence[Bucket], sizes: Sequence[tuple[int, int]]
) -> dict[str, str]:
    """The charts of the page by name."""
    edges = [_edge(inputs.k * multiple) for multiple in BUCKETS]
    labels = [f"{edge}+" for edge in edges]
    measures = {
        "kept": "Count kept, of the actual count",
        "lost": "Combinations lost",
        "error": "Error, of the actual counts",
    }
    plots = {
        "records_by_values": charts.bars(
            [rows for _, rows in sizes],
            [str(size) for size, _ in sizes],
            texts=["" for _ in sizes],
            about="Synthetic records by the number of values they hold",
            axis="values in a record",
        )
    }
    for name, title in measures.items():
        shares = [_measure(bucket, name) for bucket in lengths]
        plots[f"{name}_by_length"] = charts.bars(
            shares,
            [str(bucket.length) for bucket in lengths],
            texts=[_share(value) for value in shares],
            about=f"{title}, by the number of values combined",
            axis="values combined",
            least=1,
        )
        by_count = {str(bucket.length): [_measure(b, name) for b in buckets if b.length == bucket.length] for bucket in lengths}
        plots[f"{name}_by_count"] = charts.lines(by_count, labels, about=f"{title}, by actual count", axis="actual count")
    rows = [
        (
            row["title"],
            _count(row["victims"]) if row["victims"] else "",
            int(row["first_year"]) if row["first_year"] else None,
            int(row["last_year"]) if row["last_year"] else None,
        )
        for row in inputs.partners.to_pylist()
    ]
    years = [year for row in rows for year in row[2:] if isinstance(year, int)]
    plots["coverage"] = charts.spans(
        rows,
        first=min(years, default=codebook().first_year),
        last=max(years, default=inputs.last_year),
        about="Years of registration that each source covers",
    )
    return plots


def _measure(bucket: Bucket, name: str) -> float | None:
    fidelity = bucket.fidelity
    if name == "lost":
        return fidelity.lost / fidelity.common if fidelity.common else None
    return fidelity.preservation if name == "kept" else fidelity.relative_error


def _edge(number: int) -> str:
    return str(number) if number % 1000 else f"{number // 1000}k"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Listing:
    """A table of which all columns but the first hold numbers."""
    return Listing(head, tuple(rows), numbers=tuple(range(1, len(head))))


def _read(path: Path) -> pa.Table:
    return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types={"kept": pa.string()}))


def _count(number: int) -> str:
    return f"{number:,}"


def _share(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f}%"


def _percent(number: int | None) -> str:
    return "–" if number is None else f"{number}%"
