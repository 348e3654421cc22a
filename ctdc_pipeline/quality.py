"""What the data covers and what suppression cost, as tables, and plots of quality tables as SVG images.

How faithful the synthetic records are is measured by ``ctdc_pipeline.evaluation``; here it is only drawn. Every figure that is
drawn is protected: counts are rounded down to multiples of k, shares to whole percent.
"""

from __future__ import annotations

import io
from pathlib import Path

import altair as alt
import duckdb
import pandera.pandas as pandera
import pyarrow as pa

from ctdc_pipeline.codebook import codebook

WIDTH = 560
LABEL = 300


def partner_coverage(victims: Path, *, k: int) -> pa.Table:
    """Victims by ``partner`` and ``year``, rounded down to multiples of ``k`` (``victims``, int64); none below ``k``."""
    with duckdb.connect() as connection:
        return connection.sql(
            f"SELECT partner, yearOfRegistration AS year, (count(*) // {k} * {k})::BIGINT AS victims"
            f" FROM read_parquet('{_quoted(victims)}') GROUP BY ALL HAVING victims > 0 ORDER BY ALL"
        ).to_arrow_table()


def missingness(victims: Path) -> pa.Table:
    """Share of records without a value, by ``variable`` and ``partner``, in whole percent (``missing``, int64)."""
    names = codebook().names
    columns = ", ".join(f'"{name}"' for name in names)
    shares = ", ".join(f'round(100 * avg(("{name}" IS NULL)::INT))::BIGINT AS "{name}"' for name in names)
    with duckdb.connect() as connection:
        return connection.sql(
            "SELECT variable, partner, missing FROM"
            f" (UNPIVOT (SELECT partner, {shares} FROM read_parquet('{_quoted(victims)}') GROUP BY partner)"
            f" ON {columns} INTO NAME variable VALUE missing)"
            f" ORDER BY list_position({list(names)}, variable), partner"
        ).to_arrow_table()


def suppression(victims: Path, synthetic: Path) -> pa.Table:
    """Values of each ``variable`` before and after (``sensitive``, ``synthetic``), and the share ``lost`` in percent."""
    names = codebook().names
    counts = ", ".join(f'count("{name}") AS "{name}"' for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    parts = " JOIN ".join(
        f"(UNPIVOT (SELECT {counts} FROM read_parquet('{_quoted(path)}')) ON {columns} INTO NAME variable VALUE {label})"
        for label, path in (("sensitive", victims), ("synthetic", synthetic))
    )
    with duckdb.connect() as connection:
        return connection.sql(
            "SELECT variable, sensitive, synthetic, round(100 * (1 - synthetic / nullif(sensitive, 0)), 1) AS lost"
            f" FROM {parts} USING (variable) ORDER BY list_position({list(names)}, variable)"
        ).to_arrow_table()


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
    return _svg(axes.encode(x=alt.X("year:O"), y=alt.Y("victims:Q", title="victims, rounded down"), color="partner:N"))


def missingness_plot(table: pa.Table) -> str:
    """Shares of missing values, variables by partners."""
    cells = alt.Chart(table.to_pandas()).mark_rect()
    shade = alt.Color("missing:Q", title="% missing", scale=alt.Scale(domain=[0, 100], scheme="blues"))
    return _svg(cells.encode(x=alt.X("partner:N"), y=alt.Y("variable:N", sort=list(codebook().names)), color=shade))


def suppression_plot(table: pa.Table) -> str:
    """Share of each variable's values that was lost to rounding down and to rarity."""
    bars = alt.Chart(table.select(["variable", "lost"]).to_pandas().dropna()).mark_bar()
    return _svg(bars.encode(x=alt.X("lost:Q", title="% of values lost"), y=alt.Y("variable:N", sort=list(codebook().names))))


def bars(table: pa.Table, *, x: str, y: str) -> str:
    """A plain bar chart of column ``y`` (numbers) over column ``x`` (categories, in their order)."""
    chart = alt.Chart(table.select([x, y]).to_pandas()).mark_bar()
    return _svg(chart.encode(x=alt.X(f"{x}:O", sort=None), y=alt.Y(f"{y}:Q")))


def _svg(chart: alt.Chart) -> str:
    image = io.StringIO()
    chart.properties(width=WIDTH).configure_axis(labelLimit=LABEL).save(image, format="svg")
    return image.getvalue()


def _schema(columns: dict[str, pandera.Column]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(columns, strict=True, ordered=True)


def _variable() -> pandera.Column:
    return pandera.Column(str, pandera.Check.isin(codebook().names, name="variable of the codebook"))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
