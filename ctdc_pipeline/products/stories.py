"""The tables that people look for first, from the complete records and protected: count, denominator and percentage.

Each table counts people by what they have in common (``by``), and within that how many are of each value. Denominators follow the
official rule: within a group of flags, the records with at least one of them; the group's blanks then count as no. For a single
variable they are the records in which it is known.

Protection: counts below k are not told, others and the denominators are rounded down to multiples of k, percentages are computed
from what is told. Told counts and a denominator could still betray, by subtraction, that a hidden count is more than nobody. A
denominator is therefore never told to be more than the told counts can account for if each was rounded down by k - 1: then every
hidden count could be nobody. No table is told in both directions, for two margins could tell more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.files import queries
from ctdc_pipeline.products.inputs import Inputs
from ctdc_pipeline.tables import write_table


@dataclass(frozen=True)
class Story:
    """One table: ``of`` names a variable, or a group of flags of the codebook; ``by`` the variables it is broken down by."""

    name: str
    title: str
    of: str
    by: tuple[str, ...] = ()


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
    Story("corridors", "Country of exploitation by citizenship", "CountryOfExploitation", ("citizenship",)),
)


def write(inputs: Inputs, folder: Path) -> None:
    """One CSV a story, ``story_<name>.csv``. Raises OSError, ResourceError."""
    for story in STORIES:
        write_table(table(inputs.victims, story, k=inputs.k), folder / file_name(story))


def file_name(story: Story) -> str:
    """What its table is called in a release."""
    return f"story_{story.name}.csv"


def table(victims: pa.Table, story: Story, *, k: int) -> pa.Table:
    """The protected figures: the columns of ``story.by``, ``variable``, ``value``, ``count``, ``denominator``, ``percentage``.

    One row a count that may be told, in the order of the codebook; a percentage has one decimal.
    """
    flags = [variable.name for variable in codebook().variables if variable.group == story.of and variable.kind == "flag"]
    of = flags or [story.of]
    by = ", ".join(story.by)
    told = " AND ".join(f"{name} IS NOT NULL" for name in story.by) or "true"
    known = " OR ".join(f"{name} IS NOT NULL" for name in of)
    counted = ", ".join((by, "*") if by else ("*",))
    groups = f"GROUP BY {by}" if by else ""
    same = " AND ".join(f"counts.{name} = totals.{name}" for name in story.by) or "true"
    keys = "".join(f"counts.{name} AS {name}, " for name in story.by)
    order = ", ".join((*story.by, f"list_position({of}, variable)", f"list_position({_values(story.of)}, value)", "value"))
    with queries() as connection:
        connection.register("victims", victims)
        return connection.sql(
            f"""
            WITH known AS (SELECT {", ".join((*story.by, *of))} FROM victims WHERE {told} AND ({known})),
            cells AS (UNPIVOT known ON {", ".join(of)} INTO NAME variable VALUE value),
            counts AS (
                SELECT {counted.replace("*", "variable, value, count(*) // {k} * {k} AS told")} FROM cells
                GROUP BY {counted.replace("*", "variable, value")} HAVING count(*) >= {k}
            ),
            most AS (SELECT {counted.replace("*", "sum(told + {k} - 1) // {k} * {k} AS most")} FROM counts {groups}),
            totals AS (SELECT {counted.replace("*", "count(*) // {k} * {k} AS total")} FROM known {groups})
            SELECT {keys}variable, value, told::BIGINT AS count, least(total, most)::BIGINT AS denominator,
                round(100 * told / least(total, most), 1)::DOUBLE AS percentage
            FROM counts JOIN totals ON {same} JOIN most ON {same.replace("totals", "most")} ORDER BY {order}
            """.replace("{k}", str(k))
        ).to_arrow_table()


def _values(name: str) -> list[str]:
    """The values of a category as the codebook lists them, by which to sort; else a list of nothing."""
    listed = (variable.values for variable in codebook().variables if variable.name == name)
    return list(next(listed, ())) or [""]
