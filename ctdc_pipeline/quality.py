"""What the data covers and what suppression cost, as tables, and plots of quality tables as SVG images.

How faithful the synthetic records are is measured by ``ctdc_pipeline.evaluation``; here it is only drawn. Every figure that is
drawn is protected: counts are rounded down to multiples of k, shares to whole percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import altair as alt
import pandera.pandas as pandera
import pyarrow as pa
import vl_convert

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.evaluation import Evaluation
from ctdc_pipeline.files import queries

WHOLE, SHARE = pa.int64(), pa.float64()
LEAKAGE = pa.schema([(name, WHOLE) for name in ("length", "records", "rows", "rare_records", "rare_rows")])
PRESERVATION = pa.schema([("length", WHOLE), ("common", WHOLE), ("lost", WHOLE), ("preservation", SHARE)])
PRESERVATION_BY_COUNT = PRESERVATION.insert(1, pa.field("count", pa.string()))
ERROR = pa.schema([("length", WHOLE), ("common", WHOLE), ("relative_error", SHARE), ("mean_absolute_error", SHARE)])
EVALUATION = {
    "leakage_by_length": LEAKAGE,
    "preservation_by_length": PRESERVATION,
    "preservation_by_count": PRESERVATION_BY_COUNT,
    "error_by_length": ERROR,
}

WIDTH = 560
LABEL = 300


def partner_coverage(victims: Path, *, k: int) -> pa.Table:
    """Victims by ``partner`` and ``year``, rounded down to multiples of ``k`` (``victims``, int64); none below ``k``."""
    with queries(records=victims) as connection:
        return connection.sql(
            f"SELECT partner, yearOfRegistration AS year, (count(*) // {k} * {k})::BIGINT AS victims"
            " FROM records GROUP BY ALL HAVING victims > 0 ORDER BY ALL"
        ).to_arrow_table()


def missingness(victims: Path) -> pa.Table:
    """Share of records without a value, by ``variable`` and ``partner``, in whole percent (``missing``, int64)."""
    names = codebook().names
    columns = ", ".join(f'"{name}"' for name in names)
    shares = ", ".join(f'round(100 * avg(("{name}" IS NULL)::INT))::BIGINT AS "{name}"' for name in names)
    with queries(records=victims) as connection:
        return connection.sql(
            "SELECT variable, partner, missing FROM"
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
        f"(UNPIVOT (SELECT {counts} FROM {label}_records) ON {columns} INTO NAME variable VALUE {label})"
        for label in ("sensitive", "synthetic")
    )
    with queries(sensitive_records=victims, synthetic_records=synthetic) as connection:
        return connection.sql(
            "SELECT variable, sensitive, synthetic, round(100 * (1 - synthetic / nullif(sensitive, 0)), 1) AS lost"
            f" FROM {parts} USING (variable) ORDER BY list_position({list(names)}, variable)"
        ).to_arrow_table()


def evaluation_tables(evaluation: Evaluation) -> dict[str, pa.Table]:
    """What the evaluation found, as four tables by name: leakage, preservation and error by length, preservation by count.

    ``length`` counts attributes, ``count`` is a range of sensitive counts. Shares and errors are null where nothing is common.
    """
    kept = [{"length": part.length, **asdict(part.fidelity)} for part in evaluation.combinations]
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


def coverage_plot(table: pa.Table) -> str:
    """Victims by year, one colour a partner."""
    axes = alt.Chart(table.to_pandas()).mark_bar()
    return svg(axes.encode(x=alt.X("year:O"), y=alt.Y("victims:Q", title="victims, rounded down"), color="partner:N"))


def missingness_plot(table: pa.Table) -> str:
    """Shares of missing values, variables by partners."""
    cells = alt.Chart(table.to_pandas()).mark_rect()
    shade = alt.Color("missing:Q", title="% missing", scale=alt.Scale(domain=[0, 100], scheme="blues"))
    return svg(cells.encode(x=alt.X("partner:N"), y=alt.Y("variable:N", sort=list(codebook().names)), color=shade))


def suppression_plot(table: pa.Table) -> str:
    """Share of each variable's values that was lost to rounding down and to rarity."""
    bars = alt.Chart(table.select(["variable", "lost"]).to_pandas().dropna()).mark_bar()
    return svg(bars.encode(x=alt.X("lost:Q", title="% of values lost"), y=alt.Y("variable:N", sort=list(codebook().names))))


def evaluation_plots(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """One plot of each of the ``evaluation_tables``, by the same names."""
    by_count = alt.Chart(tables["preservation_by_count"].to_pandas()).mark_line(point=True)
    share = alt.Scale(domain=[0, 1])
    return {
        "leakage_by_length": _bars(tables["leakage_by_length"], y="rare_records", title="records with support below k"),
        "preservation_by_length": _bars(tables["preservation_by_length"], y="preservation", title="share kept", scale=share),
        "preservation_by_count": svg(
            by_count.encode(
                x=alt.X("count:O", sort=None, title="sensitive count"),
                y=alt.Y("preservation:Q", title="share kept", scale=share),
                color="length:N",
            )
        ),
        "error_by_length": _bars(tables["error_by_length"], y="relative_error", title="relative error"),
    }


def _bars(table: pa.Table, *, y: str, title: str, scale: alt.Scale | None = None) -> str:
    chart = alt.Chart(table.select(["length", y]).to_pandas()).mark_bar()
    axis = alt.Y(f"{y}:Q", title=title, scale=scale or alt.Scale(zero=True))
    return svg(chart.encode(x=alt.X("length:O", title="attributes"), y=axis))


def svg(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> str:
    """The chart as an SVG image, as wide as all others. Not held against the schema: that takes as long as drawing it."""
    drawn = chart.properties(width=WIDTH).configure_axis(labelLimit=LABEL).to_dict(validate=False)
    return vl_convert.vegalite_to_svg(drawn, vl_version=".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2]))


def _schema(columns: dict[str, pandera.Column]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def _variable() -> pandera.Column:
    return pandera.Column(str, pandera.Check.isin(codebook().names, name="variable of the codebook"))
