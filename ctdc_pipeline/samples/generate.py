"""Writes a full set of sample exports, a folder a source and refresh, as the landing zone takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import iom_legacy, iom_mimosa, liberty_shared, polaris
from ctdc_pipeline.samples.planting import Planting
from ctdc_pipeline.samples.population import Persons, chosen, population
from ctdc_pipeline.samples.writing import write_csv, write_workbook

SMALLEST = 100
REFRESH = "2021-H1"
"""The refresh of a single delivery: the half-year in which the last persons were registered."""
# Rows among each 1,000 that stay out for who they are about, who sent them or what was agreed.
WITHOUT_CONSENT, OPTED_OUT = 6.0, 4.0
STATUS = {"not-a-victim": 8.0, "test-record": 2.0, "individual-without-consent": WITHOUT_CONSENT}
REFUSING_NGOS = 2
UNKNOWN_NGO = 1.0


@dataclass(frozen=True)
class SampleSummary:
    """What was written: the files, case rows by source, and by source the rows that each rule must find, and each oddity."""

    files: tuple[Path, ...]
    victims: int
    rows: Mapping[str, int]
    planted: Mapping[str, Mapping[str, int]]


def generate(folder: Path, *, victims: int = 20_000, seed: int = 0, refreshes: int = 1) -> SampleSummary:
    """Write exports about ``victims`` invented persons to ``folder``/<source>/<refresh>/; same arguments, same bytes.

    Raises ParameterError for a negative seed, fewer than ``SMALLEST`` victims or a folder that holds other files, and OSError.
    """
    if victims < SMALLEST:
        raise ParameterError(f"{victims} victims are too few for a sample", remedy=f"Ask for {SMALLEST} or more.")
    if seed < 0:
        raise ParameterError("a seed is not negative", remedy="Choose 0 or more.")
    # A stream of random numbers each, so that a change to one exporter leaves the other files as they are.
    world, *streams = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(1 + len(SOURCES)))
    persons = population(world, victims=victims)
    makers = {"iom_legacy": _legacy, "iom_mimosa": _mimosa, "liberty_shared": _liberty_shared, "polaris": _polaris}
    made: dict[str, Made] = {}
    for (name, make), rng in zip(makers.items(), streams, strict=True):
        made[name] = make(rng, chosen(persons, persons["source"] == name), SOURCES[name])
        # A file of a larger sample left beside a smaller one would be taken for part of it.
        if others := {path.name for path in (folder / name / REFRESH).glob("*")} - made[name][1].keys():
            raise ParameterError(f"{folder / name} holds {len(others)} other files", remedy="Choose an empty folder.")
    files = [
        _write(folder / name / REFRESH / file, table, SOURCES[name])
        for name, (_, tables) in made.items()
        for file, table in tables.items()
    ]
    rows = {name: len(planting.table) for name, (planting, _) in made.items()}
    return SampleSummary(tuple(files), victims, rows, {name: dict(planting.planted) for name, (planting, _) in made.items()})


Made = tuple[Planting, dict[str, pd.DataFrame]]


def _legacy(rng: np.random.Generator, persons: Persons, source: Source) -> Made:
    planting = Planting(rng, source, iom_legacy.rows(rng, persons))
    _statuses(planting)
    planting.defects(registered_again=date(2011, 2, 3))
    planting.oddities()
    return planting, {iom_legacy.FILE: iom_legacy.typed(planting.table)}


def _mimosa(rng: np.random.Generator, persons: Persons, source: Source) -> Made:
    planting = Planting(rng, source, iom_mimosa.rows(rng, persons))
    _statuses(planting)
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    return planting, {iom_mimosa.FILE: planting.table}


def _polaris(rng: np.random.Generator, persons: Persons, source: Source) -> Made:
    table = polaris.rows(rng, persons)
    planting = Planting(rng, source, table)
    planting.already("reported-too-early", persons["registered"] < np.datetime64(source.reported_from))
    alone = ~table["Case_ID"].duplicated(keep=False).to_numpy(bool)
    victims = table.loc[planting.take("opted-out", OPTED_OUT / 2), ["Case_ID", "Victim_ID"]]
    cases = table.loc[planting.take("opted-out", OPTED_OUT / 2, alone), ["Case_ID", "Victim_ID"]].assign(Victim_ID="")
    nobody = pd.DataFrame({"Case_ID": ["C9999998", "C9999999"], "Victim_ID": ["V01", ""]})
    listed = pd.concat([victims, cases, nobody], ignore_index=True)
    _statuses(planting)
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    return planting, {polaris.FILE: planting.table, polaris.OPT_OUT_FILE: polaris.opt_outs(rng, listed)}


def _liberty_shared(rng: np.random.Generator, persons: Persons, source: Source) -> Made:
    table = liberty_shared.rows(rng, persons)
    planting = Planting(rng, source, table)
    ngos = np.unique(table["NGO Code"].to_numpy(str))
    refusing = ngos[-REFUSING_NGOS:]
    planting.already("organisation-without-consent", np.isin(table["NGO Code"].to_numpy(str), refusing))
    refused = planting.take("individual-without-consent", WITHOUT_CONSENT / 2)
    unlisted = planting.take("individual-without-consent", WITHOUT_CONSENT / 2)
    of_ngos = pd.DataFrame({"NGO Code": ngos, "Client ID": "", "Consent to CTDC": np.where(np.isin(ngos, refusing), "No", "Yes")})
    of_persons = table[["NGO Code", "Client ID"]].assign(**{"Consent to CTDC": "Yes"})
    of_persons.loc[refused, "Consent to CTDC"] = "No"
    consents = pd.concat([of_ngos, of_persons.drop(index=unlisted)], ignore_index=True)
    _statuses(planting)
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    sent_by = planting.table["NGO Code"].copy()
    strays = sent_by.duplicated().to_numpy(bool)  # never a whole file: that would be refused, not quarantined
    planting.mark("unknown-organisation", UNKNOWN_NGO, source.cases.having("case_id")[:1], "NGO999", strays)
    files = {liberty_shared.file_name(str(ngo)): own for ngo, own in planting.table.groupby(sent_by, sort=True)}
    return planting, {**files, liberty_shared.REGISTER_FILE: liberty_shared.register(rng, consents)}


def _statuses(planting: Planting) -> None:
    """Mark some rows with each status for which a row stays out."""
    for field in planting.source.cases.having("status"):
        for code in field.codes:
            for rule in code.means:
                planting.mark(rule, STATUS[rule], [field], code.code)


def _write(path: Path, table: pd.DataFrame, source: Source) -> Path:
    if path.suffix == ".xlsx":
        write_workbook(table, path, sheet=source.cases.sheet)
    else:
        write_csv(table, path, delimiter=source.cases.delimiter, encoding=source.cases.encoding)
    return path
