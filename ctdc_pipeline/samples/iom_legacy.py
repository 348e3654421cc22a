"""The workbook of IOM's records of 2002 to 2011, with invented persons. Its layout is ``partners.iom_legacy``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.iom_legacy import CASES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities

FILE = "iom_legacy_2002-2011.xlsx"
TYPED_DATE, TYPED_YEAR = "%d/%m/%Y", "%Y"


def rows(rng: np.random.Generator, persons: pd.DataFrame) -> pd.DataFrame:
    """One row a person, as str cells in the columns of the layout; ``typed`` turns them into what the workbook holds."""
    size = len(persons)
    who = identities(rng, size)
    home, place = persons["citizenship"].to_numpy(object), persons["country"].to_numpy(object)
    last = export.kept(place, rng.random(size) < 0.5)
    interviewed = np.where(last != "", export.kept(home, rng.random(size) < 0.4), place)
    minor = (persons["began"] - persons["born"]).dt.days.to_numpy() < 18 * 365.25
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
            "Case ref": persons["registered"].dt.strftime("%y").to_numpy(object) + export.serial("/", number, 5),
            "Surname": who["family"],
            "Given name(s)": who["given"],
            "Passport / ID": export.kept(who["passport"], rng.random(size) < 0.4),
            "Tel.": export.kept(who["phone"], rng.random(size) < 0.3),
            "Home address": export.kept(who["address"], rng.random(size) < 0.7),
            "Social worker": who["officer"],
            "Entry type": np.full(size, "1", dtype=object),
            "Date reg.": registered,
            "Sex": persons["gender"].map({"Female": "F", "Male": "M"}).to_numpy(object),
            "Age": export.numbers(persons["age"].to_numpy(), persons["age_known"].to_numpy()),
            "Nationality (country)": export.country_cells(home, CASES.countries),
            "Exploited in": export.country_cells(last, CASES.countries),
            "Interviewed in": export.country_cells(interviewed, CASES.countries),
            "Registered in": export.country_cells(np.where(interviewed != "", home, place), CASES.countries),
            "IOM office": export.country_cells(export.kept(home, place != ""), CASES.countries),
            "Months exploited": export.numbers(persons["months"].to_numpy(), persons["months_known"].to_numpy()),
            "Minor at start": export.kept(np.where(minor, "y", "n").astype(object), persons["start_known"].to_numpy()),
            "Remarks": who["note"],
        },
    )


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """The cells as Excel holds them: dates as dates, whole numbers as numbers, blanks as empty cells, all else as text."""
    cells = rows.where(rows != "", None)
    for name in ("Age", "Months exploited", "Entry type", "Purpose", "Recruited by"):
        cells[name] = cells[name].map(lambda cell: int(cell) if cell is not None and cell.isdecimal() else cell)
    dates = pd.to_datetime(rows["Date reg."], format="%Y-%m-%d", errors="coerce").to_numpy().astype("datetime64[s]")
    years = rows["Date reg."].str.fullmatch(r"\d{4}").to_numpy(bool)
    day = [None if np.isnat(date) else date for date in dates]
    cells["Date reg."] = [int(text) if year else date.item() if date is not None else text for text, date, year in zip(rows["Date reg."], day, years, strict=True)]
    return cells
