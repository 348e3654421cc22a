"""Make VCMS exports about invented persons, and the consent register.

Each NGO has a file of its own. Their layouts are in ``partners/liberty_shared.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES, CONSENTS = (SOURCES["liberty_shared"].layouts[name] for name in ("liberty_shared", "liberty_shared_consents"))

NGOS = 43
REGISTER_FILE = "consent_register_{label}.csv"
GENDERS = {"Female": "Woman/Girl", "Male": "Man/Boy", "TransFemale": "Transgender", "TransMale": "Transgender"}
PROVINCES = ("Province One", "Province Two", "Delta", "Highlands")
TRANSITS = ("THA", "THA;MYS", "IND", "VNM;LAO")
SERVICES = ("Shelter", "Legal", "Medical;Shelter", "Vocational training", "Counselling;Legal")


def file_name(ngo: str) -> str:
    """Return the name of the file with one NGO's cases."""
    return f"vcms_{ngo.lower()}.csv"


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout.

    The NGO's file follows from its code.
    """
    size = len(persons["age"])
    details = identities(rng, size)
    day = CASES.date_formats[0]
    home, country = persons["citizenship"], persons["country"]
    registered = persons["registered"]
    # A few NGOs have most cases, and each has at least one if there are enough persons.
    ngo = np.minimum(rng.exponential(NGOS / 4, size).astype(int), NGOS - 1)
    ngo[:NGOS] = np.arange(NGOS)[:size]
    ngo_code = export.serial("NGO", ngo + 1, 3)
    duration_known = persons["months_known"]

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "NGO Code": ngo_code,
            "Client ID": export.serial("CL-", pd.Series(ngo).groupby(ngo).cumcount().to_numpy() + 1, 5),
            "Record Origin": np.where(registered < np.datetime64("2014-01-01"), "Migrated", "Direct entry"),
            "Client Type": np.full(size, "Survivor", dtype=object),
            "Full Name": details["given"] + " " + details["family"],
            "Also Known As": export.kept(details["given"], rng.random(size) < 0.1),
            "ID Document No": export.kept(details["national_id"], rng.random(size) < 0.3),
            "Mobile": export.kept(details["phone"], rng.random(size) < 0.5),
            "Village / Address": details["address"],
            "Guardian": export.kept(details["kin"], persons["age"] < 18),
            "Case Worker": details["officer"],
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
            "Destination Country": export.country_cells(rng, country, CASES.countries),
            "Exploitation Start": export.kept(export.dates(persons["began"], day), duration_known),
            "Exploitation End": export.kept(export.dates(persons["ended"], day), duration_known),
            "Rescue Location": export.kept(details["address"], rng.random(size) < 0.2),
            "Services Given": export.kept(export.pick(rng, SERVICES, size), rng.random(size) < 0.6),
            "Case Narrative": details["note"],
            "Modified": export.dates(export.shifted(rng, registered, 300), day),
        },
    )


def register(rng: np.random.Generator, consents: pd.DataFrame) -> pd.DataFrame:
    """Return the consent register.

    Args:
        rng: The source of randomness.
        consents: Str columns NGO Code, Client ID and Consent to CTDC; a blank client means the NGO itself.
    """
    size = len(consents)
    details = identities(rng, size)
    asked = np.datetime64("2019-01-01") + rng.integers(0, 700, size)
    columns = {
        "Consent Date": export.dates(asked, CONSENTS.date_formats[0]),
        "Signed By": details["given"] + " " + details["family"],
    }
    return consents.assign(**columns).loc[:, [field.name for field in CONSENTS.fields]]
