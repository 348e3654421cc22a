"""VCMS exports of invented persons, one file an NGO, and the consent register. The layouts are in ``partners.liberty_shared``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.liberty_shared import CASES, CONSENTS
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

NGOS = 43
REGISTER_FILE = "consent_register_{label}.csv"
GENDERS = {"Female": "Woman/Girl", "Male": "Man/Boy", "TransFemale": "Transgender", "TransMale": "Transgender"}
PROVINCES = ("Province One", "Province Two", "Delta", "Highlands")
TRANSITS = ("THA", "THA;MYS", "IND", "VNM;LAO")
SERVICES = ("Shelter", "Legal", "Medical;Shelter", "Vocational training", "Counselling;Legal")


def file_name(ngo: str) -> str:
    """The file in which one NGO's cases arrive."""
    return f"vcms_{ngo.lower()}.csv"


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """One row a person, as str cells in the columns of the layout; the NGO's file follows from its code."""
    size = len(persons["age"])
    who = identities(rng, size)
    day = CASES.date_formats[0]
    home, place = persons["citizenship"], persons["country"]
    registered = persons["registered"]
    # A few NGOs have most cases, and each has at least one where there are persons enough.
    ngo = np.minimum(rng.exponential(NGOS / 4, size).astype(int), NGOS - 1)
    ngo[:NGOS] = np.arange(NGOS)[:size]
    ngo_code = export.serial("NGO", ngo + 1, 3)
    lasts = persons["months_known"]

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "NGO Code": ngo_code,
            "Client ID": export.serial("CL-", pd.Series(ngo).groupby(ngo).cumcount().to_numpy() + 1, 5),
            "Record Origin": np.where(registered < np.datetime64("2014-01-01"), "Migrated", "Direct entry"),
            "Client Type": np.full(size, "Survivor", dtype=object),
            "Full Name": who["given"] + " " + who["family"],
            "Also Known As": export.kept(who["given"], rng.random(size) < 0.1),
            "ID Document No": export.kept(who["national_id"], rng.random(size) < 0.3),
            "Mobile": export.kept(who["phone"], rng.random(size) < 0.5),
            "Village / Address": who["address"],
            "Guardian": export.kept(who["kin"], persons["age"] < 18),
            "Case Worker": who["officer"],
            "Date of Entry": export.dates(registered, day),
            "Date of First Contact": export.dates(export.shifted(rng, registered, -30), day),
            "Gender": export.words(persons["gender"], GENDERS, "Non-binary"),
            "Age at First Contact": export.numbers(persons["age"], persons["age_known"]),
            "Age When Exploitation Began": export.numbers(persons["age_at_start"], persons["start_known"]),
            "Country of Origin": export.country_cells(rng, home, CASES.countries),
            "Province of Origin": export.pick(rng, PROVINCES, size),
            "Ethnicity": export.kept(export.pick(rng, ["Group A", "Group B", "Group C"], size), rng.random(size) < 0.2),
            "Recruitment Country": export.country_cells(rng, export.kept(home, rng.random(size) < 0.6), CASES.countries),
            "Transit Countries": export.kept(export.pick(rng, TRANSITS, size), rng.random(size) < 0.15),
            "Destination Country": export.country_cells(rng, place, CASES.countries),
            "Exploitation Start": export.kept(export.dates(persons["began"], day), lasts),
            "Exploitation End": export.kept(export.dates(persons["ended"], day), lasts),
            "Rescue Location": export.kept(who["address"], rng.random(size) < 0.2),
            "Services Given": export.kept(export.pick(rng, SERVICES, size), rng.random(size) < 0.6),
            "Case Narrative": who["note"],
            "Modified": export.dates(export.shifted(rng, registered, 300), day),
        },
    )


def register(rng: np.random.Generator, consents: pd.DataFrame) -> pd.DataFrame:
    """The consent register of ``consents`` (str columns NGO Code, Client ID and Consent to CTDC; a blank client is the NGO)."""
    size = len(consents)
    who = identities(rng, size)
    asked = np.datetime64("2019-01-01") + rng.integers(0, 700, size)
    columns = {
        "Consent Date": export.dates(asked, CONSENTS.date_formats[0]),
        "Signed By": who["given"] + " " + who["family"],
    }
    return consents.assign(**columns).loc[:, [field.name for field in CONSENTS.fields]]
