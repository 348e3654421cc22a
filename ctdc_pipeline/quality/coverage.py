"""What the data covers and what suppression cost, as tables, and plots of quality tables as SVG images.

How faithful the synthetic records are is measured by ``ctdc_pipeline.quality.evaluation``; here it is laid out as tables. Every
figure that is drawn is protected: counts are rounded down to multiples of k, shares to whole percent.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.quality.evaluation import Evaluation
from ctdc_pipeline.storage.files import queries

WHOLE, SHARE = pa.int64(), pa.float64()
LEAKAGE = pa.schema([(name, WHOLE) for name in ("length", "records", "rows", "rare_records", "rare_rows")])
PRESERVATION = pa.schema([("length", WHOLE), ("common", WHOLE), ("lost", WHOLE), ("preservation", SHARE)])
PRESERVATION_BY_COUNT = PRESERVATION.insert(1, pa.field("count", pa.string()))
ERROR = pa.schema(
    [
        ("length", WHOLE),
        ("common", WHOLE),
        *((name, SHARE) for name in ("relative_error", "core_relative_error", "mean_absolute_error")),
    ]
)
EVALUATION = {
    "leakage_by_length": LEAKAGE,
    "preservation_by_length": PRESERVATION,
    "preservation_by_count": PRESERVATION_BY_COUNT,
    "error_by_length": ERROR,
}

FOLLOWED = {
    "leakage_by_length": "rare_records",
    "preservation_by_length": "preservation",
    "error_by_length": "relative_error",
    "missingness": "missing",
}
"""By table of quality, the column that is worth following from refresh to refresh."""


def followed(name: str, table: pa.Table) -> dict[str, Any]:
    """Of the table ``name``, the mean of the column that is worth following: by length of combinations, where it has them."""
    column = FOLLOWED.get(name)
    if not column:
        return {}
    by = "length" if "length" in table.column_names else "partner"
    means = table.group_by(by).aggregate([(column, "mean")]).sort_by(by).to_pylist()
    called = f"{column}_of_length_{{}}" if by == "length" else f"percent_{column}_{{}}"
    return {called.format(row[by]): round(row[f"{column}_mean"], 4) for row in means if row[f"{column}_mean"] is not None}


def partner_coverage(victims: Path, *, k: int) -> pa.Table:
    """Victims by ``partner`` and ``year``, rounded down to multiples of ``k`` (``victims``, int64); none below ``k``."""
    with queries(records=victims) as connection:
        return connection.sql(
            f"SELECT partner, yearOfRegistration AS year, (count(*) // {k} * {k})::BIGINT AS victims"  # noqa: S608
            " FROM records GROUP BY ALL HAVING victims > 0 ORDER BY ALL"
        ).to_arrow_table()


def missingness(victims: Path) -> pa.Table:
    """Share of records without a value, by ``variable`` and ``partner``, in whole percent (``missing``, int64)."""
    names = codebook().names
    columns = ", ".join(f'"{name}"' for name in names)
    shares = ", ".join(f'round(100 * avg(("{name}" IS NULL)::INT))::BIGINT AS "{name}"' for name in names)
    with queries(records=victims) as connection:
        return connection.sql(
            "SELECT variable, partner, missing FROM"  # noqa: S608
            f" (UNPIVOT (SELECT partner, {shares} FROM records GROUP BY partner)"
            f" ON {columns} INTO NAME variable VALUE missing)"
            f" ORDER BY list_position({list(names)}, variable), partner"
        ).to_arrow_table()


def suppression(victims: Path, synthetic: Path) -> pa.Table:
    """Values of each ``variable`` before and after (``sensitive``, ``synthetic``), and the share ``lost`` in percent."""
    names = codebook().names
    counts = ", ".join(f'count("{name}") AS "{name}"' for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    parts = " JOIN ".join(
        f"(UNPIVOT (SELECT {counts} FROM {label}_records) ON {columns} INTO NAME variable VALUE {label})"  # noqa: S608
        for label in ("sensitive", "synthetic")
    )
    with queries(sensitive_records=victims, synthetic_records=synthetic) as connection:
        return connection.sql(
            "SELECT variable, sensitive, synthetic, round(100 * (1 - synthetic / nullif(sensitive, 0)), 1) AS lost"  # noqa: S608
            f" FROM {parts} USING (variable) ORDER BY list_position({list(names)}, variable)"
        ).to_arrow_table()


def evaluation_tables(evaluation: Evaluation) -> dict[str, pa.Table]:
    """What the evaluation found, as four tables by name: leakage, preservation and error by length, preservation by count.

    ``length`` counts attributes, ``count`` is a range of sensitive counts. Shares and errors are null where nothing is common.
    ``core_relative_error`` is that of the pairs of core variables, and null at other lengths than 2.
    """
    core = {2: evaluation.core.relative_error} if evaluation.core else {}
    kept = [
        {"length": part.length, "core_relative_error": core.get(part.length), **asdict(part.fidelity)}
        for part in evaluation.combinations
    ]
    buckets = [
        {
            "length": part.length,
            "count": f"{part.least}+" if part.most is None else f"{part.least}-{part.most}",
            **asdict(part.fidelity),
        }
        for part in evaluation.buckets
    ]
    return {
        "leakage_by_length": _table([asdict(part) for part in evaluation.leakage], LEAKAGE),
        "preservation_by_length": _table(kept, PRESERVATION),
        "preservation_by_count": _table(buckets, PRESERVATION_BY_COUNT),
        "error_by_length": _table(kept, ERROR),
    }


def evaluation_schema(name: str, *, length: int) -> pandera.DataFrameSchema:
    """What ``evaluation_tables`` returns under ``name``: no negative figure, no share over 1, no combination over ``length``."""
    columns: dict[str, pandera.Column] = {}
    for field in EVALUATION[name]:
        most = 1 if field.name == "preservation" else length if field.name == "length" and name != "leakage_by_length" else None
        checks = [pandera.Check.ge(0), *([] if most is None else [pandera.Check.le(most)])]
        columns[field.name] = pandera.Column(
            str if field.name == "count" else str(field.type).replace("double", "float64"),
            [] if field.name == "count" else checks,
            nullable=pa.types.is_floating(field.type),
        )
    return _schema(columns)


def _table(rows: list[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: row[name] for name in columns.names} for row in rows], schema=columns)


def coverage_schema(*, k: int) -> pandera.DataFrameSchema:
    """What ``partner_coverage`` returns: nothing below ``k``."""
    columns = {"partner": pandera.Column(str), "year": pandera.Column(str)}
    return _schema({**columns, "victims": pandera.Column("int64", pandera.Check.ge(k))})


def missingness_schema() -> pandera.DataFrameSchema:
    """What ``missingness`` returns."""
    share = pandera.Column("int64", pandera.Check.in_range(0, 100))
    return _schema({"variable": _variable(), "partner": pandera.Column(str), "missing": share})


def suppression_schema() -> pandera.DataFrameSchema:
    """What ``suppression`` returns: no variable has more values after than before."""
    counts = {name: pandera.Column("int64", pandera.Check.ge(0)) for name in ("sensitive", "synthetic")}
    lost = pandera.Column(float, pandera.Check.in_range(0, 100), nullable=True)
    return _schema({"variable": _variable(), **counts, "lost": lost})


def _schema(columns: dict[str, pandera.Column]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def _variable() -> pandera.Column:
    return pandera.Column(str, pandera.Check.isin(codebook().names, name="variable of the codebook"))
