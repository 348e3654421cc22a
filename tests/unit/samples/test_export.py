"""Test that cells follow the partner's layout, whatever the layout is."""

import numpy as np
import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.population import Persons, population

SIZE = 3_000


def rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(2))


@pytest.fixture(scope="module")
def persons() -> Persons:
    return population(rng(), victims=SIZE)


@pytest.mark.parametrize("source", SOURCES)
def test_flags_read_back_as_they_were_written(source: str, persons: Persons) -> None:
    """Guards against flags lost, doubled or moved to another column while they are turned into a partner's codes."""
    layout = SOURCES[source].cases
    columns = export.flags(rng(), layout, persons)
    read: dict[str, set[int]] = {}
    for field in layout.having("flags"):
        meaning = {code.code: code.means for code in field.codes}
        for row, cell in enumerate(columns[field.name].tolist()):
            for part in (cell.split(field.separator) if field.multi else [cell]) if cell else []:
                for flag in meaning[part]:
                    read.setdefault(flag, set()).add(row)
    expected: dict[str, set[int]] = {}
    for variable in codebook().harmonised:
        if variable.kind == "flag" and variable.name in persons:
            name = (
                variable.name
                if variable.name in {f for field in layout.having("flags") for c in field.codes for f in c.means}
                else ""
            )
            expected.setdefault(name or variable.merges_into, set()).update(np.flatnonzero(persons[variable.name]).tolist())
    for flag, rows in read.items():
        assert rows == expected[flag], flag
    never_recorded = {"isOtherExploit", ""} if source == "polaris" else {""}
    assert {flag for flag, rows in expected.items() if rows} - read.keys() <= never_recorded


@pytest.mark.parametrize("system", ["iom", "iso2", "iso3", "name", "portuguese"])
def test_countries_are_ones_the_reader_knows(system: str, persons: Persons) -> None:
    """Guards against a spelling of a country that would be quarantined though nothing was planted; Namibia is not missing."""
    home = np.append(persons["citizenship"], np.array(["NA", "XK", "TB", ""], dtype=object))
    cells = export.country_cells(rng(), home, system)  # type: ignore[arg-type]
    read = [countries().alpha3(cell, system=system) if cell else "" for cell in cells.tolist()]  # type: ignore[arg-type]
    assert None not in read
    assert read[-4:] == ["NAM", "SRB", "CHN", ""]


def test_dates_are_written_in_the_form_asked_for() -> None:
    """Guards against a locale or an off-by-one day in the dates of an export."""
    days = np.array(["2016-03-07", "2020-02-29", "2016-03-07"], dtype="datetime64[D]")
    assert export.dates(days, "%d-%b-%Y").tolist() == ["07-Mar-2016", "29-Feb-2020", "07-Mar-2016"]
    assert set(export.shifted(rng(), days, -2).tolist()) <= set((days - np.arange(2)[:, None]).ravel().tolist())
