"""A workbook of A21's aftercare case files about invented persons. Its layout is ``partners.a21``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.codebook import countries
from ctdc_pipeline.partners.a21 import AFTERCARE, CASES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

FILE = "a21_case_files_{label}.xlsx"
GENDERS = {"Female": "Female", "Male": "Male", "TransFemale": "Transgender", "TransMale": "Transgender"}
LANGUAGES = ("English", "Bulgarian", "Romanian, English", "Khmer", "Thai", "Ukrainian, Russian", "isiZulu, English")
SERVICES = ("Housing", "Housing; Counselling", "Legal aid; Medical care", "Job training; Education", "Reintegration support")
TOWNS = ("Sampleville", "Testograd", "Ejemplópolis")


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """One row a person, as str cells in the columns of the layout; ``export.typed`` turns them into what the workbook holds."""
    size = len(persons["age"])
    who = identities(rng, size)
    day, typed_day = CASES.date_formats
    home, place, registered = persons["citizenship"], persons["country"], persons["registered"]

    # Some hands type the day as text.
    intake = np.where(rng.random(size) < 0.1, export.dates(registered, typed_day), export.dates(registered, day))
    exploited = export.kept(place, rng.random(size) < 0.8)
    identified = np.where(exploited != "", export.kept(home, rng.random(size) < 0.5), place)
    known = persons["age_known"]
    has_birth, has_age = rng.random(size) < 0.6, rng.random(size) < 0.8
    has_age |= ~has_birth
    lasts, dated = persons["months_known"], rng.random(size) < 0.3

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "Case File No": export.serial("A21-", np.arange(1, size + 1), 5),
            "Client Category": np.full(size, "Survivor", dtype=object),
            "Consent to Share": np.full(size, "Yes", dtype=object),
            "First Name": who["given"],
            "Last Name": who["family"],
            "Preferred Name": export.kept(who["given"], rng.random(size) < 0.2),
            "Passport or ID No": export.kept(who["passport"], rng.random(size) < 0.4),
            "Phone": export.kept(who["phone"], rng.random(size) < 0.6),
            "Email": export.kept(who["email"], rng.random(size) < 0.2),
            "Current Address": who["address"],
            "Emergency Contact": export.kept(who["kin"], rng.random(size) < 0.5),
            "Case Manager": who["officer"],
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
            "Aftercare Country": _aftercare(rng, home, place),
            "Aftercare City": export.pick(rng, TOWNS, size),
            "Exploitation Began": export.kept(export.dates(persons["began"], day), lasts & dated),
            "Exploitation Ended": export.kept(export.dates(persons["ended"], day), lasts & dated),
            "Months Exploited": export.numbers(persons["months"], lasts & ~dated),
            "Services": export.kept(export.pick(rng, SERVICES, size), rng.random(size) < 0.8),
            "Case Notes": who["note"],
            "Last Updated": export.dates(export.shifted(rng, registered, 300), day),
        },
    )


def _aftercare(rng: np.random.Generator, home: export.Cells, place: export.Cells) -> export.Cells:
    """Where each person is cared for: where they were found or come from, if A21 is there."""
    there = {row.iso2: name for row in countries().rows for name in AFTERCARE if name in (row.name, *row.aliases)}
    found = export.words(place, there)
    found = np.where(found != "", found, export.words(home, there))
    return np.where(found != "", found, export.pick(rng, AFTERCARE, len(home))).astype(object)
