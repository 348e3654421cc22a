"""Whether a delivery, or a partner's current state, is what one expects after the one before: warnings for people, never a gate.

Each finding compares two profiles. It warns where a difference is both large enough to matter (a threshold below) and larger than
chance explains: differences of shares beyond ``Z`` standard errors, distances beyond the noise floor. So small deliveries do not
cry wolf, and large ones are not flagged for trifles.

How far a distribution has shifted is the Jensen-Shannon distance with base 2, the square root of the divergence of Lin (1991),
"Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37(1): 0 if both are the same, 1 if
they have no value in common. ``SHIFTED`` is about what it takes to move a half-and-half split by twelve points.

Figures are protected as plots of quality are: rows by value are rounded down to multiples of k, shares to whole percent, and a
value is only named where k rows or more have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import log, sqrt
from statistics import median
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.profiles import Profile
from ctdc_pipeline.quality import svg

CHANCE = 0.001
"""How rarely chance alone may make one comparison warn."""
Z = 3.29
"""Standard errors that chance exceeds, in both directions together, with that probability."""
FEW = 5
"""Rows to be expected of a value below which it is compared together with all other rare ones."""
SHIFTED = 0.1
"""Jensen-Shannon distance from which a shift matters."""
MOVED = 0.1
"""Difference of shares of missing values that matters."""
OUTCOME_MOVED = 0.02
"""Difference of shares of rows quarantined or left out by one rule that matters."""
MANY_QUARANTINED = 0.05
"""Share of rows in quarantine that matters whatever came before."""
EXPECTED_SIZE = {"snapshot": (0.95, 1.5), "increment": (0.5, 2.0)}
"""Rows against the delivery before: a snapshot repeats all cases, so it can hardly shrink."""
PARTIAL, GAP, SPIKE, REOPENED = 0.5, 0.1, 2.5, 1.1
"""Rows of a year against the median of the years around it; of a closed year against what it was."""
SETTLED = timedelta(days=183)
"""How long after a registration its row is expected to have come."""
USUAL = "as usual"
SHOWN = 30
"""How many rows of figures are shown, the largest differences first."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a comparison found: what is wrong (nothing if there are no concerns), figures, and ``plot`` to draw them as SVG."""

    concerns: tuple[str, ...]
    figures: tuple[Row, ...]
    plot: Callable[[], str]


@dataclass(frozen=True)
class Comparison:
    """One comparison: ``about`` says what it compares and when it warns, ``remedy`` what to do then.

    ``find`` takes the profile, the one before (None if it is the first) and k.
    """

    name: str
    about: str
    remedy: str
    find: Callable[[Profile, Profile | None, int], Finding]


def js_distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Jensen-Shannon distance with base 2 between two distributions, given as counts; neither may be empty."""
    names = sorted({*one, *other})
    p, q = (np.array([counts.get(name, 0) for name in names], float) for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    parts = [side[side > 0] * np.log2(side[side > 0] / middle[side > 0]) for side in (p, q)]
    return sqrt(max(0.0, sum(float(part.sum()) for part in parts) / 2))


def noise(one: int, other: int, values: int) -> float:
    """The distance between samples of these sizes from one distribution over ``values``, exceeded with probability ``CHANCE``.

    Around equality 8 ln 2 JSD / (1/n + 1/m) follows a chi-squared distribution with ``values`` - 1 degrees of freedom, of which
    the quantile is approximated as by Wilson and Hilferty (1931). That needs values which are not rare: see ``pooled``.
    """
    freedom = max(1, values - 1)
    upper = 3.09  # the standard normal quantile of 1 - CHANCE
    quantile = freedom * (1 - 2 / (9 * freedom) + upper * sqrt(2 / (9 * freedom))) ** 3
    return sqrt(quantile * (1 / one + 1 / other) / (8 * log(2)))


def pooled(one: Mapping[str, int], other: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Both counts with values put together of which the smaller sample would have fewer than ``FEW`` if they did not differ."""
    sizes = sum(one.values()), sum(other.values())
    share = min(sizes) / sum(sizes)
    rare = {name for name in {*one, *other} if (one.get(name, 0) + other.get(name, 0)) * share < FEW}

    def pool(side: Mapping[str, int]) -> dict[str, int]:
        others = sum(rows for name, rows in side.items() if name in rare)
        return {name: rows for name, rows in side.items() if name not in rare} | ({"(others)": others} if others else {})

    return pool(one), pool(other)


def row_counts(now: Profile, before: Profile | None, k: int) -> Finding:
    """Rows against the state before, and whether they are new at all."""
    states = {"before": before, "now": now}
    figures = [{"state": f"{name}: {one.label}", "rows": one.rows} for name, one in states.items() if one]
    concerns = [f"the files are those of {now.repeats}, byte for byte"] if now.repeats else []
    if before:
        low, high = EXPECTED_SIZE[now.kind]
        ratio = now.rows / max(before.rows, 1)
        chance = Z * sqrt(now.rows + before.rows) if now.kind == "increment" else k  # a snapshot's cases are no new draw
        if not low <= ratio <= high and abs(now.rows - before.rows) > chance:
            concerns.append(f"{now.rows} rows, where {before.label} had {before.rows}")
    bars = alt.Chart(pd.DataFrame(figures)).encode(y=alt.Y("state:N", sort=None, title=None), x=alt.X("rows:Q", title="rows"))
    label = bars.mark_text(align="left", dx=4).encode(text=alt.Text("rows:Q", format=","))
    return Finding(tuple(concerns), tuple(figures), lambda: svg(bars.mark_bar(size=18) + label))


def missingness(now: Profile, before: Profile | None, k: int) -> Finding:
    """Share of rows without a value, by variable."""
    shares = {name: (now.missing(name), before.missing(name) if before else 0) for name in _shared(now, before)}
    return _shares(shares, now.rows, before.rows if before else 0, least=MOVED, what="variable", title="% missing")


def codes(now: Profile, before: Profile | None, k: int) -> Finding:
    """Codes that came up or vanished, by field; countries and years of a harmonised state are matter of its coverage."""
    covered = {variable.name for variable in codebook().variables if variable.kind in ("country", "year")}
    return _values(now, before, k, [name for name in _shared(now, before) if name not in covered])


def coverage(now: Profile, before: Profile | None, k: int) -> Finding:
    """Years and countries that came up or vanished."""
    return _values(now, before, k, [variable.name for variable in codebook().variables if variable.kind in ("country", "year")])


def distributions(now: Profile, before: Profile | None, k: int) -> Finding:
    """How far the values of each variable have shifted, among rows that have one.

    Years are left out, for time moves them on; free text, flags and other variables with one value have nothing to shift.
    """
    figures: list[Row] = []
    for name in _shared(now, before):
        new, old = now.told(name), before.told(name) if before else {}
        if not new or not old or name == "yearOfRegistration":
            continue
        new, old = pooled(new, old)
        values = len({*new, *old})
        if values < 2:
            continue
        distance = js_distance(new, old)
        limit = max(SHIFTED, noise(sum(new.values()), sum(old.values()), values))
        figures.append({"variable": name, "distance": round(distance, 2), "limit": round(limit, 2), "warns": distance > limit})
    figures.sort(key=lambda row: (-row["distance"] / row["limit"], row["variable"]))
    concerns = [
        f"{row['variable']} has shifted by a distance of {row['distance']} (limit {row['limit']})"
        for row in figures
        if row["warns"]
    ]
    return Finding(tuple(concerns), tuple(figures), lambda: _distances(figures[:SHOWN]))


def quarantined(now: Profile, before: Profile | None, k: int) -> Finding:
    """Share of rows in quarantine, by the first rule that they break."""
    finding = _outcomes(now, before, "quarantined")
    share = sum(rows for (outcome, _), rows in now.outcomes.items() if outcome == "quarantined") / max(_current(now), 1)
    if share <= MANY_QUARANTINED:
        return finding
    return Finding((f"{share:.0%} of the current rows are in quarantine", *finding.concerns), finding.figures, finding.plot)


def excluded(now: Profile, before: Profile | None, k: int) -> Finding:
    """Share of rows left out, by rule."""
    return _outcomes(now, before, "excluded")


def years(now: Profile, before: Profile | None, k: int) -> Finding:
    """Years that are late, partial, empty or too full, and closed years that grew afterwards; told once, not with every state."""
    counts, old = _by_year(now), _by_year(before)
    remarks, known = _remarks(counts), _remarks(old)
    for year, rows in old.items():
        grown = counts.get(year, 0)
        if year < max(old) and grown > REOPENED * rows and grown - rows > Z * sqrt(grown + rows):
            remarks.setdefault(year, "grown since")
    concerns = [f"{year}: {remark}" for year, remark in sorted(remarks.items()) if known.get(year) != remark]
    if counts and max(counts) < (expected := (now.until - SETTLED).year):
        concerns.append(f"the latest year is {max(counts)}, where {expected} was expected")
    figures = [
        {
            "year": year,
            "rows": counts.get(year, 0) // k * k,
            "before": old.get(year, 0) // k * k if before else None,
            "remark": remarks.get(year, USUAL),
        }
        for year in sorted({*counts, *old, *remarks})
    ]
    return Finding(tuple(concerns), tuple(figures), lambda: _years_plot(figures))


def _by_year(profile: Profile | None) -> dict[int, int]:
    return {int(year): rows for year, rows in profile.told("yearOfRegistration").items()} if profile else {}


def _remarks(counts: Mapping[int, int]) -> dict[int, str]:
    """The years that stand out against the median of the two on either side (of the last one: the three before)."""
    remarks: dict[int, str] = {}
    last = max(counts, default=-1)
    for year in range(min(counts, default=0), last + 1):
        rows, around = counts.get(year, 0), range(year - 3 if year == last else year - 2, year + 3)
        near = [counts[other] for other in around if other in counts and other != year]
        usual = median(near) if len(near) > 1 else rows
        if abs(rows - usual) <= Z * sqrt(max(usual, rows)):
            continue
        if year == last and rows < PARTIAL * usual:
            remarks[year] = "partial"
        elif rows < GAP * usual:
            remarks[year] = "gap"
        elif rows > SPIKE * usual:
            remarks[year] = "spike"
    return remarks


OF_DELIVERIES = (
    Comparison(
        "row_counts",
        "Rows against the delivery before. Warns if a snapshot holds less than 95 % or more than 150 % of them, an increment less"
        " than half or more than twice, or if the files are those of another refresh.",
        "Ask the partner whether the export is whole and of this period. If not, have the right one landed for this refresh.",
        row_counts,
    ),
    Comparison(
        "missingness",
        "Share of blank cells by field against the delivery before. Warns at ten points more or less, beyond chance.",
        "See whether the field moved to another column or is no longer asked. If it was renamed, change the layout.",
        missingness,
    ),
    Comparison(
        "codes",
        "Codes by field against the delivery before. Warns if one of k rows or more is new, vanished or not on the list.",
        "Ask the partner for the present code list and bring the layout up to date; rows with unknown codes are in quarantine.",
        codes,
    ),
    Comparison(
        "distributions",
        "Jensen-Shannon distance (base 2) by field from the delivery before. Warns from 0.1 on, beyond chance.",
        "Look at the field's codes: a code may have changed its meaning, or a country or organisation may be missing.",
        distributions,
    ),
)
"""What is compared of each delivery of a source."""

OF_PARTNERS = (
    Comparison(
        "row_counts",
        "Accepted cases against the partner's state before. Warns at less than 95 % or more than 150 % of them.",
        "Compare quarantine and exclusions; if the delivery itself lacks cases, ask the partner before the next release.",
        row_counts,
    ),
    Comparison(
        "missingness",
        "Share of cases without a value by variable against the state before. Warns at ten points more or less, beyond chance.",
        "If the delivery's own fields are as filled as before, the layout maps them wrongly; correct it. Else ask the partner.",
        missingness,
    ),
    Comparison(
        "codes",
        "Values by variable against the state before. Warns if one of k cases or more is new or vanished.",
        "See which field of the layout gives the value; a code may be mapped to another value now, or no longer.",
        codes,
    ),
    Comparison(
        "distributions",
        "Jensen-Shannon distance (base 2) by variable from the state before. Warns from 0.1 on, beyond chance.",
        "Decide whether the people changed or the recording. If the recording, ask the partner, and say so in the release notes.",
        distributions,
    ),
    Comparison(
        "quarantined",
        "Share of current rows in quarantine by rule. Warns at two points more or less than before, or above 5 % in all.",
        "Send the partner its quarantine (`ctdc quarantine`), or correct the layout if the rows are right and the rule is not.",
        quarantined,
    ),
    Comparison(
        "excluded",
        "Share of current rows left out by rule, superseded ones apart. Warns at two points more or less than before.",
        "Check that the opt-out list or consent register is whole, and whether the partner codes status otherwise now.",
        excluded,
    ),
    Comparison(
        "coverage",
        "Years and countries against the state before. Warns if one of k cases or more is new or vanished.",
        "Ask the partner whether an office or a programme began or ended; if not, rows are missing. Note it in the release.",
        coverage,
    ),
    Comparison(
        "years",
        "Cases by year of registration. Warns at a last year below half of the usual, a year below a tenth or above 2.5 times,"
        " a latest year that came late, and a closed year that grew by a tenth; once, not again with the next state.",
        "A partial year reads as a fall and a spike as a rise: say so in the release, or set `last_year` to the last whole one.",
        years,
    ),
)
"""What is compared of each partner's harmonised state."""


def _shared(now: Profile, before: Profile | None) -> list[str]:
    """The variables that both have, in their order: two layouts of one source have few in common."""
    return [name for name in now.values if before is None or name in before.values]


def _current(profile: Profile) -> int:
    """Rows that no later delivery replaced."""
    return sum(rows for (_, rule), rows in profile.outcomes.items() if rule != "superseded")


def _beyond_chance(one: int, of: int, other: int, out_of: int) -> bool:
    """Whether shares of two samples differ by more than ``Z`` standard errors of the share in both together."""
    share = (one + other) / (of + out_of)
    return abs(one / of - other / out_of) > Z * sqrt(share * (1 - share) * (1 / of + 1 / out_of))


def _shares(
    counts: Mapping[str, tuple[int, int]], rows: int, rows_before: int, *, least: float, what: str, title: str
) -> Finding:
    """Compare shares, given as counts now and before."""
    figures: list[Row] = []
    for name, (one, other) in counts.items():
        now, then = one / max(rows, 1), other / rows_before if rows_before else None
        warns = rows > 0 and then is not None and abs(now - then) >= least and _beyond_chance(one, rows, other, rows_before)
        told = {"now": round(100 * now), "before": None if then is None else round(100 * then)}
        figures.append({what: name, **told, "warns": warns, "change": abs(now - (now if then is None else then))})
    figures.sort(key=lambda row: (-row["warns"], -row["change"]))
    figures = [{name: cell for name, cell in row.items() if name != "change"} for row in figures]
    concerns = [f"{row[what]}: {row['now']} {title}, {row['before']} before" for row in figures if row["warns"]]
    return Finding(tuple(concerns), tuple(figures), lambda: _dumbbells(figures[:SHOWN], what=what, title=title))


def _outcomes(now: Profile, before: Profile | None, outcome: str) -> Finding:
    rules = sorted(
        {rule for one in (now, before) if one for out, rule in one.outcomes if out == outcome and rule != "superseded"}
    )
    counts = {
        rule: (now.outcomes.get((outcome, rule), 0), before.outcomes.get((outcome, rule), 0) if before else 0) for rule in rules
    }
    total = _current(before) if before else 0
    return _shares(counts, _current(now), total, least=OUTCOME_MOVED, what="rule", title=f"% {outcome}")


def _values(now: Profile, before: Profile | None, k: int, names: Iterable[str]) -> Finding:
    """Values that came up or vanished: at least ``k`` rows have them, and chance would hardly keep them from the other side."""
    found: list[tuple[bool, float, Row, Row]] = []
    for name in names:
        new, old = now.told(name), before.told(name) if before else {}
        total, total_before = sum(new.values()), sum(old.values())
        for value in sorted({*new, *old}):
            rows, rows_before = new.get(value, 0), old.get(value, 0)
            remark = USUAL
            later = name == "yearOfRegistration" and value > max(old, default="")  # time moves on
            if before and not later and not rows_before and rows >= k and (1 - rows / total) ** total_before < CHANCE:
                remark = "new"
            elif before and not rows and rows_before >= k and (1 - rows_before / total_before) ** total < CHANCE:
                remark = "vanished"
            if max(rows, rows_before) >= k:
                shares = rows / max(total, 1), rows_before / max(total_before, 1)
                then = {"before": rows_before // k * k if before else None}
                drawn = {"now": round(100 * shares[0]), "before": round(100 * shares[1]) if before else None}
                change = abs(shares[0] - shares[1])
                figure = {"value": f"{name}: {value}", "rows": rows // k * k, **then, "remark": remark}
                found.append((remark == USUAL, -change, figure, {**drawn, "value": figure["value"], "warns": remark != USUAL}))
    found.sort(key=lambda row: (*row[:2], row[2]["value"]))
    figures = [figure for _, _, figure, _ in found]
    concerns = [
        f"{row['value']} {'is new' if row['remark'] == 'new' else 'has vanished'}" for row in figures if row["remark"] != USUAL
    ]
    drawn = [one for *_, one in found[:SHOWN]]
    return Finding(tuple(concerns), tuple(figures), lambda: _dumbbells(drawn, what="value", title="% of what the variable tells"))


_BEFORE, _NOW, _WARNS = "#9a9a9a", "#2a6fbb", "#d95f02"


def _dumbbells(rows: Sequence[Row], *, what: str, title: str) -> str:
    """What was before and is now, joined by a line, one row each; what warns stands out and comes first."""
    frame = pd.DataFrame(rows, columns=[what, "now", "before", "warns"])
    heading = f"{title} (ring: before, dot: now, orange: warns)"
    base = alt.Chart(frame).encode(y=alt.Y(f"{what}:N", sort=None, title=None))
    colour = alt.condition("datum.warns", alt.value(_WARNS), alt.value(_NOW))
    before, now = alt.X("before:Q", title=heading), alt.X("now:Q", title=heading)
    line = base.transform_filter("datum.before !== null").mark_rule(strokeWidth=2, opacity=0.5)
    ring = base.mark_point(size=70, strokeWidth=1.5).encode(x=before, color=alt.value(_BEFORE))
    dot = base.mark_point(size=40, filled=True, opacity=1).encode(x=now, color=colour)
    return svg(alt.layer(line.encode(x=before, x2="now:Q", color=colour), ring, dot))


def _distances(rows: Sequence[Row]) -> str:
    """Distances as bars, and the limit of each as a tick."""
    base = alt.Chart(pd.DataFrame(rows, columns=["variable", "distance", "limit", "warns"]))
    base = base.encode(y=alt.Y("variable:N", sort=None, title=None))
    colour = alt.condition("datum.warns", alt.value(_WARNS), alt.value(_NOW))
    bars = base.mark_bar(height=9).encode(x=alt.X("distance:Q", title="Jensen-Shannon distance (tick: limit)"), color=colour)
    return svg(bars + base.mark_tick(thickness=2, size=13, color="black").encode(x="limit:Q"))


def _years_plot(rows: Sequence[Row]) -> str:
    """Rows by year, coloured by what is to be said of the year, and a tick where they were before."""
    base = alt.Chart(pd.DataFrame(rows, columns=["year", "rows", "before", "remark"])).encode(x=alt.X("year:O", title=None))
    names = [USUAL, "partial", "gap", "spike", "grown since"]
    scale = alt.Scale(domain=names, range=[_NOW, "#e6a817", "#7a4fa3", _WARNS, "#2e8b57"])
    colour = alt.Color("remark:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
    bars = base.mark_bar().encode(y=alt.Y("rows:Q", title="cases, rounded down (tick: before)"), color=colour)
    return svg(bars + base.mark_tick(thickness=2, color="black").encode(y="before:Q"))
