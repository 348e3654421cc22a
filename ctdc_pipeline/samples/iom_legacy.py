"""The workbook of IOM's records of 2002 to 2011, with invented persons. Its layout is ``partners.iom_legacy``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.iom_legacy import CASES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

FILE = "iom_legacy_2002-2011.xlsx"
TYPED_DATE, TYPED_YEAR = "%d/%m/%Y", "%Y"


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """One row a person, as str cells in the columns of the layout; ``export.typed`` turns them into what the workbook holds."""
    size = len(persons["age"])
    who = identities(rng, size)
    home, place = persons["citizenship"], persons["country"]
    last = export.kept(place, rng.random(size) < 0.5)
    interviewed = np.where(last != "", export.kept(home, rng.random(size) < 0.4), place)
    minor = persons["age_at_start"] < 18
    # Most dates are date cells; some hands typed text, some only the year.
    hand = rng.random(size)
    registered = export.dates(persons["registered"], "%Y-%m-%d")
    registered = np.where(hand < 0.15, export.dates(persons["registered"], TYPED_DATE), registered)
    registered = np.where(hand < 0.05, export.dates(persons["registered"], TYPED_YEAR), registered)
    number = np.arange(1, size + 1)

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "Case ref": export.dates(persons["registered"], "%y") + export.serial("/", number, 5),
            "Surname": who["family"],
            "Given name(s)": who["given"],
            "Passport / ID": export.kept(who["passport"], rng.random(size) < 0.4),
            "Tel.": export.kept(who["phone"], rng.random(size) < 0.3),
            "Home address": export.kept(who["address"], rng.random(size) < 0.7),
            "Social worker": who["officer"],
            "Entry type": np.full(size, "1", dtype=object),
            "Date reg.": registered,
            "Sex": export.words(persons["gender"], {"Female": "F", "Male": "M"}),
            "Age": export.numbers(persons["age"], persons["age_known"]),
            "Nationality (country)": export.country_cells(rng, home, CASES.countries),
            "Exploited in": export.country_cells(rng, last, CASES.countries),
            "Interviewed in": export.country_cells(rng, interviewed, CASES.countries),
            "Registered in": export.country_cells(rng, np.where(interviewed != "", home, place), CASES.countries),
            "IOM office": export.country_cells(rng, export.kept(home, place != ""), CASES.countries),
            "Months exploited": export.numbers(persons["months"], persons["months_known"]),
            "Minor at start": export.kept(np.where(minor, "y", "n"), persons["start_known"]),
            "Remarks": who["note"],
        },
    )
