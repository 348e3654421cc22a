"""Draw the plots of checks and quality tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa
import vl_convert

from ctdc_pipeline.codebook.variables import codebook

USUAL = "as usual"
Row = dict[str, Any]
_BEFORE, _NOW, _WARNS = "#9a9a9a", "#2a6fbb", "#d95f02"


def dumbbells(rows: Sequence[Row], *, what: str, title: str) -> str:
    """Draw the figures before and now, one row each, joined by a line; warnings stand out and come first."""
    frame = pd.DataFrame(rows, columns=[what, "now", "before", "warns"])
    heading = f"{title} (ring: before, dot: now, orange: warns)"
    base = alt.Chart(frame).encode(y=alt.Y(f"{what}:N", sort=None, title=None))
    colour = alt.condition("datum.warns", alt.value(_WARNS), alt.value(_NOW))
    before, now = alt.X("before:Q", title=heading), alt.X("now:Q", title=heading)
    line = base.transform_filter("datum.before !== null").mark_rule(strokeWidth=2, opacity=0.5)
    ring = base.mark_point(size=70, strokeWidth=1.5).encode(x=before, color=alt.value(_BEFORE))
    dot = base.mark_point(size=40, filled=True, opacity=1).encode(x=now, color=colour)
    return svg(alt.layer(line.encode(x=before, x2="now:Q", color=colour), ring, dot))


def distances(rows: Sequence[Row]) -> str:
    """Draw distances as bars, with a tick at the limit of each."""
    base = alt.Chart(pd.DataFrame(rows, columns=["variable", "distance", "limit", "warns"]))
    base = base.encode(y=alt.Y("variable:N", sort=None, title=None))
    colour = alt.condition("datum.warns", alt.value(_WARNS), alt.value(_NOW))
    bars = base.mark_bar(height=9).encode(x=alt.X("distance:Q", title="Jensen-Shannon distance (tick: limit)"), color=colour)
    return svg(bars + base.mark_tick(thickness=2, size=13, color="black").encode(x="limit:Q"))


def years_plot(rows: Sequence[Row]) -> str:
    """Draw rows by year, coloured by the remark about the year, with a tick at the previous figure."""
    base = alt.Chart(pd.DataFrame(rows, columns=["year", "rows", "before", "remark"])).encode(x=alt.X("year:O", title=None))
    names = [USUAL, "partial", "gap", "spike", "grown since"]
    scale = alt.Scale(domain=names, range=[_NOW, "#e6a817", "#7a4fa3", _WARNS, "#2e8b57"])
    colour = alt.Color("remark:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
    bars = base.mark_bar().encode(y=alt.Y("rows:Q", title="cases, rounded down (tick: before)"), color=colour)
    return svg(bars + base.mark_tick(thickness=2, color="black").encode(y="before:Q"))


WIDTH = 560
LABEL = 300


def coverage_plot(table: pa.Table) -> str:
    """Draw victims by year, with one colour for each partner."""
    axes = alt.Chart(table.to_pandas()).mark_bar()
    return svg(axes.encode(x=alt.X("year:O"), y=alt.Y("victims:Q", title="victims, rounded down"), color="partner:N"))


def missingness_plot(table: pa.Table) -> str:
    """Draw the shares of missing values, variables by partners."""
    cells = alt.Chart(table.to_pandas()).mark_rect()
    shade = alt.Color("missing:Q", title="% missing", scale=alt.Scale(domain=[0, 100], scheme="blues"))
    return svg(cells.encode(x=alt.X("partner:N"), y=alt.Y("variable:N", sort=list(codebook().names)), color=shade))


def suppression_plot(table: pa.Table) -> str:
    """Draw the share of each variable's values that was lost to rounding down and to rarity."""
    bars = alt.Chart(table.select(["variable", "lost"]).to_pandas().dropna()).mark_bar()
    return svg(bars.encode(x=alt.X("lost:Q", title="% of values lost"), y=alt.Y("variable:N", sort=list(codebook().names))))


def evaluation_plots(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """Draw one plot for each of the `evaluation_tables`, under the same names."""
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
    """Return the chart as an SVG image, as wide as all others.

    The chart is not validated against its schema, which would take as long as drawing it.
    """
    drawn = chart.properties(width=WIDTH).configure_axis(labelLimit=LABEL).to_dict(validate=False)
    return vl_convert.vegalite_to_svg(drawn, vl_version=".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2]))
