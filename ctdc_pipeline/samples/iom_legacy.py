"""Make the workbook of IOM's records of 2002 to 2011, about invented persons.

Its layout is ``partners/iom_legacy.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES = SOURCES["iom_legacy"].cases

FILE = "iom_legacy_2002-2011.xlsx"
TYPED_DATE, TYPED_YEAR = "%d/%m/%Y", "%Y"


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout.

    ``export.typed`` turns them into the cells of the workbook.
    """
    size = len(persons["age"])
    details = identities(rng, size)
    home, country = persons["citizenship"], persons["country"]
    last = export.kept(country, rng.random(size) < 0.5)
    interviewed = np.where(last != "", export.kept(home, rng.random(size) < 0.4), country)
    minor = persons["age_at_start"] < 18
    # Most dates are date cells; some people typed text, and some only the year.
    typing = rng.random(size)
    registered = export.dates(persons["registered"], "%Y-%m-%d")
    registered = np.where(typing < 0.15, export.dates(persons["registered"], TYPED_DATE), registered)
    registered = np.where(typing < 0.05, export.dates(persons["registered"], TYPED_YEAR), registered)
    number = np.arange(1, size + 1)

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "Case ref": export.dates(persons["registered"], "%y") + export.serial("/", number, 5),
            "Surname": details["family"],
            "Given name(s)": details["given"],
            "Passport / ID": export.kept(details["passport"], rng.random(size) < 0.4),
            "Tel.": export.kept(details["phone"], rng.random(size) < 0.3),
            "Home address": export.kept(details["address"], rng.random(size) < 0.7),
            "Social worker": details["officer"],
            "Entry type": np.full(size, "1", dtype=object),
            "Date reg.": registered,
            "Sex": export.words(persons["gender"], {"Female": "F", "Male": "M"}),
            "Age": export.numbers(persons["age"], persons["age_known"]),
            "Nationality (country)": export.country_cells(rng, home, CASES.countries),
            "Exploited in": export.country_cells(rng, last, CASES.countries),
            "Interviewed in": export.country_cells(rng, interviewed, CASES.countries),
            "Registered in": export.country_cells(rng, np.where(interviewed != "", home, country), CASES.countries),
            "IOM office": export.country_cells(rng, export.kept(home, country != ""), CASES.countries),
            "Months exploited": export.numbers(persons["months"], persons["months_known"]),
            "Minor at start": export.kept(np.where(minor, "y", "n"), persons["start_known"]),
            "Remarks": details["note"],
        },
    )
