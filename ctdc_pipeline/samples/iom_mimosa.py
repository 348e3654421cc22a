"""Make a MiMOSA case export about invented persons.

Its layout is ``partners/iom_mimosa.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES = SOURCES["iom_mimosa"].cases

FILE = "mimosa_cases_{day}.csv"
GENDERS = {"Female": "F", "Male": "M", "TransFemale": "TF", "TransMale": "TM", "NonConforming": "NC"}

ASSISTANCE = ("SHE", "MED", "SHE|MED", "LEG|PSY", "RET|REI", "MED|PSY|RET")
REFERRERS = ("NGO", "GOV", "POL", "SELF", "IOM")


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout."""
    size = len(persons["age"])
    details = identities(rng, size)
    day = CASES.date_formats[0]
    registered = persons["registered"]
    home, country = persons["citizenship"], persons["country"]

    # One case is a person, or a family or group that was found together.
    case = np.cumsum(rng.random(size) < 0.85)
    year = export.dates(registered, "%Y")
    # The last country of exploitation is mostly blank; then the later fields replace it, in the order of the layout.
    last = export.kept(country, rng.random(size) < 0.3)
    screened = export.kept(np.where(last != "", home, country), rng.random(size) < 0.7)
    earlier_field_known = (last != "") | (screened != "")
    at_registration = np.where(earlier_field_known, export.kept(home, rng.random(size) < 0.5), country)
    mission = np.where(at_registration != "", at_registration, np.where(earlier_field_known, country, ""))

    known = persons["age_known"]
    has_birth, has_age = rng.random(size) < 0.7, rng.random(size) < 0.8
    has_age |= ~has_birth
    duration_known, dated = persons["months_known"], rng.random(size) < 0.4

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "CASE_NO": year + export.serial("-", case, 6),
            "INDIVIDUAL_NO": export.serial("IND", np.arange(1, size + 1), 7),
            "VICTIM_STATUS_CD": export.either(rng, 0.8, "VOT", "PVT", size),
            "DATA_CONSENT_YN": np.full(size, "Y", dtype=object),
            "MISSION_CD": np.where(mission != "", mission + "10", ""),
            "LAST_NAME": details["family"],
            "FIRST_NAME": details["given"],
            "PASSPORT_NO": export.kept(details["passport"], rng.random(size) < 0.4),
            "NATIONAL_ID_NO": export.kept(details["national_id"], rng.random(size) < 0.3),
            "PHONE": export.kept(details["phone"], rng.random(size) < 0.6),
            "EMAIL": export.kept(details["email"], rng.random(size) < 0.2),
            "HOME_ADDRESS": details["address"],
            "NEXT_OF_KIN": export.kept(details["kin"], rng.random(size) < 0.5),
            "CASE_OFFICER": details["officer"],
            "REG_DATE": export.dates(registered, day),
            "GENDER_CD": export.words(persons["gender"], GENDERS),
            "BIRTH_DATE": export.kept(export.dates(persons["born"], day), known & has_birth),
            "AGE_AT_REG": export.numbers(persons["age"], known & has_age),
            "CITIZENSHIP_CD": export.country_cells(rng, home, CASES.countries),
            "BIRTH_COUNTRY_CD": export.country_cells(rng, export.kept(home, rng.random(size) < 0.7), CASES.countries),
            "LAST_EXPLOIT_CTRY_CD": export.country_cells(rng, last, CASES.countries),
            "SCREENING_CTRY_CD": export.country_cells(rng, screened, CASES.countries),
            "REG_CTRY_CD": export.country_cells(rng, at_registration, CASES.countries),
            "MISSION_CTRY_CD": export.country_cells(rng, mission, CASES.countries),
            "EXPLOIT_START_DT": export.kept(export.dates(persons["began"], day), duration_known & dated),
            "EXPLOIT_END_DT": export.kept(export.dates(persons["ended"], day), duration_known & dated),
            "EXPLOIT_MONTHS": export.numbers(persons["months"], duration_known & ~dated),
            "AGE_AT_EXPLOIT": export.numbers(persons["age_at_start"], persons["start_known"]),
            "ASSISTANCE_CD": export.kept(export.pick(rng, ASSISTANCE, size), rng.random(size) < 0.7),
            "REFERRED_BY_CD": export.kept(export.pick(rng, REFERRERS, size), rng.random(size) < 0.8),
            "CASE_NOTES": details["note"],
            "LAST_UPDATED": export.dates(export.shifted(rng, registered, 300), day),
        },
    )
