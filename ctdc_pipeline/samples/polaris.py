"""Make a Polaris hotline and textline export about invented persons, and its opt-out list.

Their layouts are in ``partners/polaris.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES, OPT_OUTS = (SOURCES["polaris"].layouts[name] for name in ("polaris", "polaris_opt_outs"))

FILE = "polaris_cases_{label}.csv"
OPT_OUT_FILE = "polaris_opt_outs_{label}.csv"
GENDERS = {"Female": "Female", "Male": "Male"}
THIRD_PARTIES = ("Family", "Community", "Provider", "Police")
STATES = ("California", "Texas", "Florida", "New York", "Ohio", "Georgia", "Michigan", "Nevada")
LANGUAGES = ("English", "English", "Spanish", "Tagalog", "Mandarin", "French")


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout."""
    size = len(persons["age"])
    details, reporter = identities(rng, size), identities(rng, size)
    day, _ = CASES.date_formats
    home, country = persons["citizenship"], persons["country"]
    third_party = rng.random(size) < 0.7
    hour = export.pick(rng, [f" {hour:02}:{minute:02}" for hour in range(24) for minute in range(0, 60, 5)], size)
    hour_known = rng.random(size) < 0.5
    second = export.kept(export.pick(rng, ["MX", "US", "CA", "PH", "GT"], size), (home != "") & (rng.random(size) < 0.04))
    third = export.kept(export.pick(rng, ["ES", "GB", "DE"], size), (second != "") & (rng.random(size) < 0.1))
    minor = persons["age_at_start"] < 18
    known = persons["age_known"]
    in_usa = country == "US"
    # A report may be about several victims: the case number repeats, the victims are counted from 1.
    starts = rng.random(size) < 0.8
    starts[:1] = True
    case = np.cumsum(starts)
    victim = np.arange(size) - np.maximum.accumulate(np.where(starts, np.arange(size), 0)) + 1

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "Case_ID": export.serial("C", case, 7),
            "Victim_ID": export.serial("V", victim, 2),
            "Situation_Status": export.either(rng, 0.6, "High", "Moderate", size),
            "Program": export.either(rng, 0.9, "NHTH", "BEFREE", size),
            "Report_Date": export.dates(persons["registered"], day) + export.kept(hour, hour_known),
            "Reporter_Type": np.where(third_party, export.pick(rng, THIRD_PARTIES, size), "Victim"),
            "Reporter_Name": export.kept(reporter["given"] + " " + reporter["family"], third_party),
            "Reporter_Phone": export.kept(reporter["phone"], third_party),
            "Reporter_Email": export.kept(reporter["email"], third_party & (rng.random(size) < 0.3)),
            "Victim_First_Name": details["given"],
            "Victim_Last_Name": export.kept(details["family"], rng.random(size) < 0.6),
            "Victim_Alias": export.kept(reporter["given"], rng.random(size) < 0.1),
            "Victim_Phone": export.kept(details["phone"], rng.random(size) < 0.4),
            "Victim_Address": export.kept(details["address"], rng.random(size) < 0.3),
            "Victim_Passport": export.kept(details["passport"], rng.random(size) < 0.05),
            "Social_Media_Handle": export.kept(details["given"] + "_" + details["passport"], rng.random(size) < 0.1),
            "Advocate_Name": details["officer"],
            "Call_Narrative": details["note"],
            "Victim_Gender": export.words(persons["gender"], GENDERS, "Gender Minority"),
            "Victim_Age_At_Report": export.numbers(persons["age"], known),
            "Minor_At_Start": export.kept(np.where(minor, "Minor", "Adult"), persons["start_known"]),
            "Citizenship_1": export.country_cells(rng, home, CASES.countries),
            "Citizenship_2": export.country_cells(rng, second, CASES.countries),
            "Citizenship_3": export.country_cells(rng, third, CASES.countries),
            "Immigration_Status": export.kept(export.pick(rng, ["Citizen", "Visa", "Undocumented"], size), home != ""),
            "Primary_Language": export.pick(rng, LANGUAGES, size),
            "Trafficking_Country": export.country_cells(rng, country, CASES.countries),
            "Trafficking_State": export.kept(export.pick(rng, STATES, size), in_usa),
            "Trafficking_City": export.kept(export.pick(rng, ["Sampleville", "Fictionburg", "Nowhere"], size), in_usa),
            "Duration_Months": export.numbers(persons["months"], persons["months_known"]),
            "Last_Modified": export.dates(export.shifted(rng, persons["registered"], 90), day),
        },
    )


def before_revision(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``rows`` as they were first delivered, before more was known."""
    return rows.assign(Situation_Status="Moderate", Call_Narrative="", Duration_Months="", Last_Modified=rows["Report_Date"])


def opt_outs(rng: np.random.Generator, listed: pd.DataFrame) -> pd.DataFrame:
    """Return the opt-out list.

    Args:
        rng: The source of randomness.
        listed: Str columns Case_ID and Victim_ID; a blank victim means the whole case.
    """
    size = len(listed)
    details = identities(rng, size)
    asked = np.datetime64("2020-01-01") + rng.integers(0, 400, size)
    columns = {
        "Case_ID": listed["Case_ID"].to_numpy(object),
        "Victim_ID": listed["Victim_ID"].to_numpy(object),
        "Requested_On": export.dates(asked, OPT_OUTS.date_formats[0]),
        "Requested_By": details["given"] + " " + details["family"],
    }
    return pd.DataFrame(columns, dtype=object)
