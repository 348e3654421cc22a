"""Make a workbook of A21's aftercare case files about invented persons.

Its layout is ``partners/a21.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES = SOURCES["a21"].cases
AFTERCARE = ("Bulgaria", "Cambodia", "Greece", "South Africa", "Thailand", "Ukraine", "United States")
"""The countries where A21 gives aftercare."""

FILE = "a21_case_files_{label}.xlsx"
GENDERS = {"Female": "Female", "Male": "Male", "TransFemale": "Transgender", "TransMale": "Transgender"}
LANGUAGES = ("English", "Bulgarian", "Romanian, English", "Khmer", "Thai", "Ukrainian, Russian", "isiZulu, English")
SERVICES = ("Housing", "Housing; Counselling", "Legal aid; Medical care", "Job training; Education", "Reintegration support")
TOWNS = ("Sampleville", "Testograd", "Ejemplópolis")


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout.

    ``export.typed`` turns them into the cells of the workbook.
    """
    size = len(persons["age"])
    details = identities(rng, size)
    day, typed_day = CASES.date_formats
    home, country, registered = persons["citizenship"], persons["country"], persons["registered"]

    # Some people type the day as text.
    intake = np.where(rng.random(size) < 0.1, export.dates(registered, typed_day), export.dates(registered, day))
    exploited = export.kept(country, rng.random(size) < 0.8)
    identified = np.where(exploited != "", export.kept(home, rng.random(size) < 0.5), country)
    known = persons["age_known"]
    has_birth, has_age = rng.random(size) < 0.6, rng.random(size) < 0.8
    has_age |= ~has_birth
    duration_known, dated = persons["months_known"], rng.random(size) < 0.3

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "Case File No": export.serial("A21-", np.arange(1, size + 1), 5),
            "Client Category": np.full(size, "Survivor", dtype=object),
            "Consent to Share": np.full(size, "Yes", dtype=object),
            "First Name": details["given"],
            "Last Name": details["family"],
            "Preferred Name": export.kept(details["given"], rng.random(size) < 0.2),
            "Passport or ID No": export.kept(details["passport"], rng.random(size) < 0.4),
            "Phone": export.kept(details["phone"], rng.random(size) < 0.6),
            "Email": export.kept(details["email"], rng.random(size) < 0.2),
            "Current Address": details["address"],
            "Emergency Contact": export.kept(details["kin"], rng.random(size) < 0.5),
            "Case Manager": details["officer"],
            "Intake Date": intake,
            "Gender": export.words(persons["gender"], GENDERS, "Non-binary"),
            "Date of Birth": export.kept(export.dates(persons["born"], day), known & has_birth),
            "Age at Intake": export.numbers(persons["age"], known & has_age),
            "Age When Exploitation Began": export.numbers(persons["age_at_start"], persons["start_known"]),
            "Citizenship": export.country_cells(rng, home, CASES.countries),
            "Languages": export.kept(export.pick(rng, LANGUAGES, size), rng.random(size) < 0.7),
            "Recruited In": export.country_cells(rng, export.kept(home, rng.random(size) < 0.6), CASES.countries),
            "Exploited In": export.country_cells(rng, exploited, CASES.countries),
            "Identified In": export.country_cells(rng, identified, CASES.countries),
            "Aftercare Country": _aftercare(rng, home, country),
            "Aftercare City": export.pick(rng, TOWNS, size),
            "Exploitation Began": export.kept(export.dates(persons["began"], day), duration_known & dated),
            "Exploitation Ended": export.kept(export.dates(persons["ended"], day), duration_known & dated),
            "Months Exploited": export.numbers(persons["months"], duration_known & ~dated),
            "Services": export.kept(export.pick(rng, SERVICES, size), rng.random(size) < 0.8),
            "Case Notes": details["note"],
            "Last Updated": export.dates(export.shifted(rng, registered, 300), day),
        },
    )


def _aftercare(rng: np.random.Generator, home: export.Cells, country: export.Cells) -> export.Cells:
    """Return where each person is cared for.

    It is where the person was found or comes from, if A21 works there.
    """
    there = {row.iso2: name for row in countries().rows for name in AFTERCARE if name in (row.name, *row.aliases)}
    countries_of_care = export.words(country, there)
    countries_of_care = np.where(countries_of_care != "", countries_of_care, export.words(home, there))
    return np.where(countries_of_care != "", countries_of_care, export.pick(rng, AFTERCARE, len(home))).astype(object)
