"""Compare each delivery, or a partner's current state, with the previous one and warn about changes. Never blocks.

Each finding compares two profiles. It warns if a difference is both large enough to matter (a threshold below) and larger than
chance explains: differences of shares beyond `Z` standard errors, distances beyond the noise floor. So small deliveries do not
cause false alarms, and large deliveries are not flagged for trivial differences.

The shift of a distribution is the Jensen-Shannon distance with base 2, the square root of the divergence of Lin (1991),
"Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37(1): 0 if both distributions are
equal, 1 if they have no value in common. A half-and-half split that moves by twelve points shifts by about `SHIFTED`.

Figures are protected like plots of quality: rows by value are rounded down to multiples of k, shares to whole percent, and a
value is only named if k rows or more have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import sqrt
from statistics import median

import altair as alt
import pandas as pd

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.ingestion.profiles import UNLISTED, Profile
from ctdc_pipeline.quality.drift import CHANCE, Z, beyond_chance, js_distance, noise, pooled
from ctdc_pipeline.quality.plots import USUAL, Row, distances, dumbbells, svg, years_plot

SHIFTED = 0.1
"""A shift matters from this Jensen-Shannon distance on."""
MOVED = 0.1
"""A difference in the share of missing values matters from this size on."""
OUTCOME_MOVED = 0.02
"""A difference in the share of rows that one rule quarantines or excludes matters from this size on."""
MANY_QUARANTINED = 0.05
"""A share of quarantined rows that matters whatever the previous share was."""
EXPECTED_SIZE = {"snapshot": (0.95, 1.5), "increment": (0.5, 2.0)}
"""Expected rows relative to the previous delivery. A snapshot repeats all cases, so it can hardly shrink."""
PARTIAL, GAP, SPIKE, REOPENED = 0.5, 0.1, 2.5, 1.1
"""Rows of a year against the median of the years around it; of a closed year against what it was."""
SETTLED = timedelta(days=183)
"""A row is expected to arrive this long after its registration at the latest."""
SHOWN = 30
"""Most rows of figures shown, the largest differences first."""


@dataclass(frozen=True)
class Finding:
    """The result of a comparison: what is wrong (nothing without concerns), figures, and `plot` to draw them as SVG.

    `numbers` are the figures that say most when followed from state to state.
    """

    concerns: tuple[str, ...]
    figures: tuple[Row, ...]
    plot: Callable[[], str]
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Comparison:
    """One comparison: `about` says what it compares and when it warns, `remedy` what to do then.

    `find` takes the profile, the previous profile (None for the first) and k.
    """

    name: str
    about: str
    remedy: str
    find: Callable[[Profile, Profile | None, int], Finding]


def row_counts(now: Profile, before: Profile | None, k: int) -> Finding:
    """Compare the number of rows with the previous state, and check that rows are new at all."""
    states = {"before": before, "now": now}
    figures = [{"state": f"{name}: {state.label}", "rows": state.rows} for name, state in states.items() if state]
    concerns = [f"the files are those of {now.repeats}, byte for byte"] if now.repeats else []
    if before:
        low, high = EXPECTED_SIZE[now.kind]
        ratio = now.rows / max(before.rows, 1)
        chance = Z * sqrt(now.rows + before.rows) if now.kind == "increment" else k  # a snapshot's cases are no new draw
        if not low <= ratio <= high and abs(now.rows - before.rows) > chance:
            concerns.append(f"{now.rows} rows, where {before.label} had {before.rows}")
    bars = alt.Chart(pd.DataFrame(figures)).encode(y=alt.Y("state:N", sort=None, title=None), x=alt.X("rows:Q", title="rows"))
    label = bars.mark_text(align="left", dx=4).encode(text=alt.Text("rows:Q", format=","))
    return Finding(tuple(concerns), tuple(figures), lambda: svg(bars.mark_bar(size=18) + label), {"rows": now.rows})


def missingness(now: Profile, before: Profile | None, k: int) -> Finding:
    """Compare the share of rows without a value, by variable."""
    shares = {name: (now.missing(name), before.missing(name) if before else 0) for name in _shared(now, before)}
    finding = _shares(shares, now.rows, before.rows if before else 0, least=MOVED, what="variable", title="% missing")
    cells = sum(one for one, _ in shares.values()), now.rows * len(shares)
    return replace(finding, numbers={"percent_missing": _percent(*cells)})


def codes(now: Profile, before: Profile | None, k: int) -> Finding:
    """Report codes that appeared or vanished, by field.

    Countries and years of a harmonised state belong to `coverage`.
    """
    covered = {variable.name for variable in codebook().variables if variable.kind in ("country", "year")}
    return _values(now, before, k, [name for name in _shared(now, before) if name not in covered])


def coverage(now: Profile, before: Profile | None, k: int) -> Finding:
    """Report years and countries that appeared or vanished."""
    return _values(now, before, k, [variable.name for variable in codebook().variables if variable.kind in ("country", "year")])


def distributions(now: Profile, before: Profile | None, k: int) -> Finding:
    """Measure the shift of each variable's values, among rows that have one.

    Years are left out because they move with time. Free text, flags and other variables with one value have nothing to shift.
    """
    figures: list[Row] = []
    for name in _shared(now, before):
        new, old = now.named_counts(name), before.named_counts(name) if before else {}
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
    largest = {"largest_distance": max(row["distance"] for row in figures)} if figures else {}
    return Finding(tuple(concerns), tuple(figures), lambda: distances(figures[:SHOWN]), largest)


def quarantined(now: Profile, before: Profile | None, k: int) -> Finding:
    """Compare the share of quarantined rows, by the first rule that they break."""
    finding = _outcomes(now, before, "quarantined")
    share = sum(rows for (outcome, _), rows in now.outcomes.items() if outcome == "quarantined") / max(_current(now), 1)
    if share <= MANY_QUARANTINED:
        return finding
    return replace(finding, concerns=(f"{share:.0%} of the current rows are in quarantine", *finding.concerns))


def excluded(now: Profile, before: Profile | None, k: int) -> Finding:
    """Compare the share of excluded rows, by rule."""
    return _outcomes(now, before, "excluded")


def years(now: Profile, before: Profile | None, k: int) -> Finding:
    """Report years that are late, partial, empty or too full, and closed years that grew afterwards.

    Each is reported once, not with every state.
    """
    counts, old = _by_year(now), _by_year(before)
    remarks, known = (_remarks(_by_year(one), one.until) if one else {} for one in (now, before))
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
            "rows": rounded_down(counts.get(year, 0), k),
            "before": rounded_down(old.get(year, 0), k) if before else None,
            "remark": remarks.get(year, USUAL),
        }
        for year in sorted({*counts, *old, *remarks})
    ]
    return Finding(tuple(concerns), tuple(figures), lambda: years_plot(figures))


def _by_year(profile: Profile | None) -> dict[int, int]:
    return {int(year): rows for year, rows in profile.named_counts("yearOfRegistration").items()} if profile else {}


def _remarks(counts: Mapping[int, int], until: date) -> dict[int, str]:
    """Return the years that stand out against the median of the two years on either side (for the last year: the three before).

    The last year is only expected to contain what should have arrived by the day `until`.
    """
    remarks: dict[int, str] = {}
    last = max(counts, default=-1)
    for year in range(min(counts, default=0), last + 1):
        rows, around = counts.get(year, 0), range(year - 3 if year == last else year - 2, year + 3)
        near = [counts[other] for other in around if other in counts and other != year]
        usual = median(near) if len(near) > 1 else rows
        due = usual
        if year == last:
            due *= min(max((until - SETTLED - date(year, 1, 1)) / timedelta(days=365), 0), 1)
        if rows < (PARTIAL if year == last else GAP) * due and due - rows > Z * sqrt(due):
            remarks[year] = "partial" if year == last else "gap"
        elif rows > SPIKE * usual and rows - usual > Z * sqrt(rows):
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
        "Codes by field against the delivery before. Warns if one of k rows or more is new or vanished, or if k rows"
        " or more have codes that are not listed and that is more than before (in a first delivery: than 5 %).",
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
"""The comparisons of each delivery of a source."""

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
        "Cases by year of registration. Warns at a last year below half of what should have come by now, a year below a tenth"
        " or above 2.5 times, a latest year that came late, and a closed year that grew by a tenth; once, not again with the"
        " next state.",
        "A partial year reads as a fall and a spike as a rise: say so in the release, or set `last_year` to the last whole one.",
        years,
    ),
)
"""The comparisons of each partner's harmonised state."""


def _shared(now: Profile, before: Profile | None) -> list[str]:
    """Return the variables that both have, in order. Two layouts of one source have few in common."""
    return [name for name in now.values if before is None or name in before.values]


def _current(profile: Profile) -> int:
    """Count the rows that no later delivery replaced."""
    return sum(rows for (_, rule), rows in profile.outcomes.items() if rule != "superseded")


def _percent(part: int, whole: int) -> int:
    return round(100 * part / max(whole, 1))


def _shares(
    counts: Mapping[str, tuple[int, int]], rows: int, rows_before: int, *, least: float, what: str, title: str
) -> Finding:
    """Compare shares, given as counts now and before."""
    figures: list[Row] = []
    for name, (one, other) in counts.items():
        now, then = one / max(rows, 1), other / rows_before if rows_before else None
        warns = rows > 0 and then is not None and abs(now - then) >= least and beyond_chance(one, rows, other, rows_before)
        told = {"now": round(100 * now), "before": None if then is None else round(100 * then)}
        figures.append({what: name, **told, "warns": warns, "change": abs(now - (now if then is None else then))})
    figures.sort(key=lambda row: (-row["warns"], -row["change"]))
    figures = [{name: cell for name, cell in row.items() if name != "change"} for row in figures]
    concerns = [f"{row[what]}: {row['now']} {title}, {row['before']} before" for row in figures if row["warns"]]
    return Finding(tuple(concerns), tuple(figures), lambda: dumbbells(figures[:SHOWN], what=what, title=title))


def _outcomes(now: Profile, before: Profile | None, outcome: str) -> Finding:
    rules = sorted(
        {rule for one in (now, before) if one for out, rule in one.outcomes if out == outcome and rule != "superseded"}
    )
    counts = {
        rule: (now.outcomes.get((outcome, rule), 0), before.outcomes.get((outcome, rule), 0) if before else 0) for rule in rules
    }
    total = _current(before) if before else 0
    finding = _shares(counts, _current(now), total, least=OUTCOME_MOVED, what="rule", title=f"% {outcome}")
    return replace(finding, numbers={f"percent_{outcome}": _percent(sum(one for one, _ in counts.values()), _current(now))})


def _values(now: Profile, before: Profile | None, k: int, names: Iterable[str]) -> Finding:
    """Return values that appeared or vanished: at least `k` rows have them, and chance hardly explains their absence."""
    shifts: list[tuple[bool, float, Row, Row]] = []
    for name in names:
        new, old = now.named_counts(name), before.named_counts(name) if before else {}
        total, total_before = sum(new.values()), sum(old.values())
        for value in sorted({*new, *old}):
            rows, rows_before = new.get(value, 0), old.get(value, 0)
            remark = USUAL
            later = name == "yearOfRegistration" and value > max(old, default="")  # time moves on
            if value == UNLISTED and rows >= k and _more_unlisted(rows, total, rows_before, total_before):
                remark = "more" if rows_before else "new"
            elif before and not later and not rows_before and rows >= k and (1 - rows / total) ** total_before < CHANCE:
                remark = "new"
            elif before and not rows and rows_before >= k and (1 - rows_before / total_before) ** total < CHANCE:
                remark = "vanished"
            if max(rows, rows_before) >= k:
                shares = rows / max(total, 1), rows_before / max(total_before, 1)
                then = {"before": rounded_down(rows_before, k) if before else None}
                drawn = {"now": round(100 * shares[0]), "before": round(100 * shares[1]) if before else None}
                change = abs(shares[0] - shares[1])
                figure = {"value": f"{name}: {value}", "rows": rounded_down(rows, k), **then, "remark": remark}
                shifts.append((remark == USUAL, -change, figure, {**drawn, "value": figure["value"], "warns": remark != USUAL}))
    shifts.sort(key=lambda row: (*row[:2], row[2]["value"]))
    figures = [figure for _, _, figure, _ in shifts]
    concerns = [f"{row['value']} {_REMARKS[row['remark']]}" for row in figures if row["remark"] != USUAL]
    drawn = [one for *_, one in shifts[:SHOWN]]
    return Finding(tuple(concerns), tuple(figures), lambda: dumbbells(drawn, what="value", title="% of what the variable tells"))


def _more_unlisted(rows: int, total: int, rows_before: int, total_before: int) -> bool:
    """Return whether more cells are unlisted than before, beyond chance or beyond typing errors where none were filled before.

    Unlike with a listed code, one such cell before does not make the others usual.
    """
    if not total_before:
        return rows > MANY_QUARANTINED * total
    if not rows_before:
        return (1 - rows / total) ** total_before < CHANCE
    return rows * total_before > rows_before * total and beyond_chance(rows, total, rows_before, total_before)


_REMARKS = {"new": "is new", "more": "is more frequent than before", "vanished": "has vanished"}
