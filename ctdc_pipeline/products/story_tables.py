"""The tables that people look for first, from the complete records and protected: count, denominator and percentage.

Each table counts people by what they have in common (``by``), and within that how many are of each value. Denominators follow the
official rule: within a group of flags, the records with at least one of them; the group's blanks then count as no. For a single
variable they are the records in which it is known.

Protection: counts below k are not told, others and the denominators are rounded down to multiples of k, percentages are computed
from what is told. Told counts and a denominator could still betray, by subtraction, that a hidden count is more than nobody. A
denominator is therefore never told to be more than the told counts can account for if each was rounded down by k - 1: then every
hidden count could be nobody. No table is told in both directions, for two margins could tell more than one.

Rounding, and a lowered denominator more so, make the percentages of small groups wrong: all that is told of a group of 170 may be
130 of 130. Each figure therefore has the interval in which the true percentage must be, which follows from what is told, and a
percentage only where that interval is at most ``WIDEST`` points wide. No percentage of fewer than 100 people is that certain.

``known_values.csv`` tells of how many people each variable, and each group of flags, is known, out of all people. These are the
denominators of the tables. Synthetic records cannot tell them: a person with several flags becomes several records.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import attribute_columns, longest_combination, rounded_down
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.storage.files import queries
from ctdc_pipeline.storage.tables import write_table


@dataclass(frozen=True)
class Story:
    """One table: ``of`` names a variable, or a group of flags of the codebook; ``by`` the variables it is broken down by."""

    name: str
    title: str
    of: str
    by: tuple[str, ...] = ()


WIDEST = 10
"""Percentage points between which a true percentage may be for one figure to be told."""
FIGURES = pa.schema(
    [
        ("variable", pa.string()),
        ("value", pa.string()),
        ("count", pa.int64()),
        ("denominator", pa.int64()),
        ("percentage", pa.float64()),
        ("percentage_from", pa.float64()),
        ("percentage_to", pa.float64()),
    ]
)
"""The last columns of every table of figures. ``percentage`` is null where ``percentage_from`` and ``_to`` are far apart."""
KNOWN = "known_values"
MOST_YEARS = 200
ANY = "*"
"""As a value: the variable, or any of a group of flags, is known."""

STORIES = (
    Story("age_by_gender", "Age by gender", "ageBroad", ("gender",)),
    Story("exploitation_by_year", "Purpose of exploitation by year of registration", "exploitation", ("yearOfRegistration",)),
    Story("exploitation_by_gender", "Purpose of exploitation by gender", "exploitation", ("gender",)),
    Story("means_of_control", "Means of control", "means"),
    Story("means_of_control_by_age", "Means of control by age when exploited", "means", ("majorityStatusAtExploit",)),
    Story("recruiter_relation", "Recruiter's relation to the victim", "recruiter"),
    Story("recruiter_relation_by_age", "Recruiter's relation by age when exploited", "recruiter", ("majorityStatusAtExploit",)),
    Story("sector_of_labour", "Sector of forced labour", "labour"),
    Story("sector_of_labour_by_gender", "Sector of forced labour by gender", "labour", ("gender",)),
    Story("form_of_sexual_exploitation", "Form of sexual exploitation", "sex"),
    Story("gender_by_year", "Gender by year of registration", "gender", ("yearOfRegistration",)),
    Story("country_by_year", "Country of exploitation by year of registration", "CountryOfExploitation", ("yearOfRegistration",)),
    Story("corridors", "Country of exploitation by citizenship", "CountryOfExploitation", ("citizenship",)),
)


def write(inputs: Inputs, folder: Path) -> None:
    """Write one CSV a story, ``story_<name>.csv``, and ``known_values.csv``.

    Args:
        inputs: what a release is made of.
        folder: where the files go.

    Raises:
        OSError: a file cannot be written.
        ResourceError: the disk does not suffice.
    """
    for story in STORIES:
        write_table(table(inputs.victims, story, k=inputs.k, aggregates=inputs.aggregates), folder / file_name(story))
    write_table(known(inputs.victims, k=inputs.k, aggregates=inputs.aggregates), folder / f"{KNOWN}.csv")


def file_name(story: Story) -> str:
    """What its table is called in a release."""
    return f"story_{story.name}.csv"


def subjects() -> list[str]:
    """What a figure can be about, in the order of the codebook: the variables, and each group of flags as one."""
    return list(dict.fromkeys(_subject(name) for name in codebook().names))


def table(victims: pa.Table, story: Story, *, k: int, aggregates: pa.Table | None = None) -> pa.Table:
    """Return the protected figures of a story.

    Args:
        victims: the complete records, as text, null for missing.
        story: which variable or group of flags is counted, and what it is broken down by.
        k: the resolution. Counts below it are left out; others are rounded down to a multiple of it.
        aggregates: the reported counts. What they withhold is not told here either. An untold value can then be common, so no
            interval takes it to be rare.

    Returns:
        The columns of ``schema(story)``, a row for each count that may be told, in the order of the codebook. Percentages have
        one decimal. The true percentage is between ``percentage_from`` and ``percentage_to``.
    """
    flags = [variable.name for variable in codebook().variables if variable.group == story.of and variable.kind == "flag"]
    of = flags or [story.of]
    by = ", ".join(story.by)
    is_grouped = " AND ".join(f"{name} IS NOT NULL" for name in story.by) or "true"
    known = " OR ".join(f"{name} IS NOT NULL" for name in of)
    groups = f"GROUP BY {by}" if by else ""
    first = f"{by}, " if by else ""
    joined = f"USING ({by})" if by else "ON true"
    order = ", ".join((*story.by, f"list_position({of}, variable)", f"list_position({_values(story.of)}, value)", "value"))
    length = longest_combination(aggregates.column_names) if aggregates is not None else 0
    cell = ", ".join([*(f"'{name}=' || {name}" for name in story.by), "variable || '=' || value"])
    withheld = len(story.by) < length
    reported = f"list_sort([{cell}]) IN (SELECT attributes FROM reported)" if withheld else "true"  # noqa: S608
    untold = f"({_possible(story.of)} - cells) * {'people' if withheld else k - 1}"
    with queries() as connection:
        connection.register("victims", victims)
        if aggregates is not None:
            parts = ", ".join(f"{variable} || '=' || {value}" for variable, value in attribute_columns(length))
            connection.register("aggregates", aggregates)
            connection.execute(
                f"CREATE TABLE reported AS SELECT list_sort(list_filter([{parts}], lambda a: a IS NOT NULL)) AS attributes"  # noqa: S608
                f" FROM aggregates WHERE length = {len(story.by) + 1}"
            )
        figures = connection.sql(
            f"""
            WITH known AS (SELECT {", ".join((*story.by, *of))} FROM victims WHERE {is_grouped} AND ({known})),
            cells AS (UNPIVOT known ON {", ".join(of)} INTO NAME variable VALUE value),
            counts AS (
                SELECT {first}variable, value, count(*) // {k} * {k} AS told FROM cells
                GROUP BY {first}variable, value HAVING count(*) >= {k} AND {reported}
            ),
            most AS (SELECT {first}sum(told + {k - 1})::BIGINT AS most, count(*) AS cells FROM counts {groups}),
            totals AS (SELECT {first}count(*) // {k} * {k} AS total FROM known {groups}),
            people AS (SELECT {first}count(*) // {k} * {k} + {k - 1} AS people FROM victims WHERE {is_grouped} {groups}),
            wholes AS (
                SELECT *, least(total, most // {k} * {k}) AS whole,
                    least(
                        people, most + {untold},
                        CASE WHEN total < most // {k} * {k} THEN total + {k - 1} ELSE people END
                    ) AS largest
                FROM most JOIN totals {joined} JOIN people {joined}
            ), figures AS (
                SELECT {first}variable, value, told, whole, 1000 * told // largest AS low,
                    least(1000, (1000 * (told + {k - 1}) + whole - 1) // whole) AS high
                FROM counts JOIN wholes {joined}
            )
            SELECT {first}variable, value, told::BIGINT AS count, whole::BIGINT AS denominator,
                CASE WHEN high - low <= {10 * WIDEST} THEN round(100 * told / whole, 1) END AS percentage,
                low / 10 AS percentage_from, high / 10 AS percentage_to
            FROM figures ORDER BY {order}
            """  # noqa: S608
        ).to_arrow_table()
    return figures.cast(pa.schema([*(pa.field(name, pa.string()) for name in story.by), *FIGURES]))


def known(victims: pa.Table, *, k: int, aggregates: pa.Table | None = None) -> pa.Table:
    """Return of how many people each of ``subjects`` is known, out of all.

    ``count`` is the denominator that ``table`` gives for the subject alone, and ``denominator`` the number of people, rounded
    down. So neither these nor their difference, the people of whom nothing is known, reveal a group smaller than ``k``.

    Args:
        victims: the complete records, as text, null for missing.
        k: the resolution.
        aggregates: the reported counts, as for ``table``.

    Returns:
        The columns ``FIGURES``, a row for each subject; ``value`` is always ``ANY``.
    """
    people = rounded_down(len(victims), k)
    rows: list[dict[str, str | int | float | None]] = []
    for subject in subjects():
        figures = table(victims, Story(KNOWN, "", subject), k=k, aggregates=aggregates).to_pylist()
        if not figures:
            continue
        count = figures[0]["denominator"]
        most = sum(row["count"] + k - 1 for row in figures)
        untold = (_possible(subject) - len(figures)) * (people if aggregates is not None else k - 1)
        largest = min(count + k - 1 if count < rounded_down(most, k) else most + untold, people + k - 1)
        low, high = 1000 * count // (people + k - 1), min(1000, -(-1000 * largest // people))
        figure = round(100 * count / people, 1) if high - low <= 10 * WIDEST else None
        cells = (subject, ANY, count, people, figure, low / 10, high / 10)
        rows.append(dict(zip(FIGURES.names, cells, strict=True)))
    return pa.Table.from_pylist(rows, schema=FIGURES)


def _subject(name: str) -> str:
    variable = codebook().variable(name)
    return variable.group if variable.kind == "flag" else name


def _possible(subject: str) -> int:
    """How many figures there could be of a subject: its flags, or the values of the variable."""
    if flags := [variable for variable in codebook().variables if _subject(variable.name) == subject and variable.kind == "flag"]:
        return len(flags)
    variable = codebook().variable(subject)
    if variable.kind == "country":
        return len(countries().rows)
    return len(variable.values) or MOST_YEARS


def _values(name: str) -> list[str]:
    """The values of a category as the codebook lists them, by which to sort; else a list of nothing."""
    listed = (variable.values for variable in codebook().variables if variable.name == name)
    return list(next(listed, ())) or [""]
