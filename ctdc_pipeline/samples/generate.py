"""Writes a full set of sample exports, one folder a source, as the landing zone takes them."""

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
from ctdc_pipeline.samples.population import population
from ctdc_pipeline.samples.writing import write_csv, write_workbook

SMALLEST = 100
# Rows among each 1,000 that are in order and yet stay out.
NOT_A_VICTIM, TEST_RECORD, WITHOUT_CONSENT, OPTED_OUT = 8.0, 2.0, 6.0, 4.0
WITHOUT_CONSENT_NGOS = 2


@dataclass(frozen=True)
class SampleSummary:
    """What was written. ``rows`` counts the case rows by source, ``planted`` by source and kind what was put into them."""

    files: tuple[Path, ...]
    victims: int
    rows: Mapping[str, int]
    planted: Mapping[str, Mapping[str, int]]


def generate(folder: Path, *, victims: int = 20_000, seed: int = 0) -> SampleSummary:
    """Write exports about ``victims`` invented persons to ``folder``/<source>/; the same arguments give the same bytes.

    Raises ParameterError for a negative seed or fewer than ``SMALLEST`` victims, and OSError.
    """
    if victims < SMALLEST:
        raise ParameterError(f"{victims} victims are too few for a sample", remedy=f"Ask for {SMALLEST} or more.")
    if seed < 0:
        raise ParameterError("a seed is not negative", remedy="Choose 0 or more.")
    # A stream of random numbers each, so that a change to one exporter leaves the other files as they are.
    world, *streams = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(1 + len(SOURCES)))
    persons = population(world, victims=victims)
    makers = {"iom_legacy": _legacy, "iom_mimosa": _mimosa, "liberty_shared": _liberty_shared, "polaris": _polaris}
    files: list[Path] = []
    rows, planted = {}, {}
    for (name, make), rng in zip(makers.items(), streams, strict=True):
        own = persons[persons["source"] == name].reset_index(drop=True)
        planting, tables = make(rng, own, SOURCES[name])
        rows[name], planted[name] = len(planting.table), dict(planting.planted)
        files += [_write(folder / name / file, table, SOURCES[name]) for file, table in tables.items()]
    return SampleSummary(tuple(files), victims, rows, planted)


Made = tuple[Planting, dict[str, pd.DataFrame]]


def _legacy(rng: np.random.Generator, persons: pd.DataFrame, source: Source) -> Made:
    planting = Planting(rng, source.cases, iom_legacy.rows(rng, persons))
    planting.mark("not a victim", NOT_A_VICTIM, "Entry type", "2")
    planting.defects(registered_again=date(2011, 2, 3))
    planting.oddities()
    return planting, {iom_legacy.FILE: iom_legacy.typed(planting.table)}


def _mimosa(rng: np.random.Generator, persons: pd.DataFrame, source: Source) -> Made:
    planting = Planting(rng, source.cases, iom_mimosa.rows(rng, persons))
    planting.mark("not a victim", NOT_A_VICTIM, "VICTIM_STATUS_CD", "NVT")
    planting.mark("test record", TEST_RECORD, "VICTIM_STATUS_CD", "TST")
    planting.mark("person without consent", WITHOUT_CONSENT, "DATA_CONSENT_YN", "N")
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    return planting, {iom_mimosa.FILE: planting.table}


def _polaris(rng: np.random.Generator, persons: pd.DataFrame, source: Source) -> Made:
    table = polaris.rows(rng, persons)
    planting = Planting(rng, source.cases, table)
    assert source.reported_from
    early = (persons["registered"].dt.date < source.reported_from).to_numpy()
    planting.spend(early)
    planting.planted["reported too early"] = int(early.sum())
    alone = ~table["Case_ID"].duplicated(keep=False).to_numpy()
    victims = planting.take("opted out", OPTED_OUT / 2)
    cases = planting.take("opted out", OPTED_OUT / 2, where=alone)
    planting.mark("not a victim", NOT_A_VICTIM, "Situation_Status", "Low")
    planting.mark("test record", TEST_RECORD, "Situation_Status", "Test")
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    listed = pd.concat(
        [
            table.loc[victims, ["Case_ID", "Victim_ID"]],
            table.loc[cases, ["Case_ID", "Victim_ID"]].assign(Victim_ID=""),
            pd.DataFrame({"Case_ID": ["C9999998", "C9999999"], "Victim_ID": ["V01", ""]}),  # never in any export
        ],
        ignore_index=True,
    )
    return planting, {polaris.FILE: planting.table, polaris.OPT_OUT_FILE: polaris.opt_outs(rng, listed)}


def _liberty_shared(rng: np.random.Generator, persons: pd.DataFrame, source: Source) -> Made:
    table = liberty_shared.rows(rng, persons)
    planting = Planting(rng, source.cases, table)
    ngos = sorted(table["NGO Code"].unique())
    refused = ngos[-WITHOUT_CONSENT_NGOS:]
    of_refused = table["NGO Code"].isin(refused).to_numpy()
    planting.spend(of_refused)
    planting.planted["NGO without consent"] = int(of_refused.sum())
    persons_refused = planting.take("person without consent", WITHOUT_CONSENT)
    planting.mark("not a victim", NOT_A_VICTIM, "Client Type", "At risk")
    planting.mark("test record", TEST_RECORD, "Client Type", "Demo")
    planting.defects(registered_again=date(2020, 2, 3))
    planting.oddities()
    of_ngos = pd.DataFrame({"NGO Code": ngos, "Client ID": ""})
    of_ngos["Consent to CTDC"] = np.where(of_ngos["NGO Code"].isin(refused), "No", "Yes")
    of_persons = table.loc[persons_refused, ["NGO Code", "Client ID"]].assign(**{"Consent to CTDC": "No"})
    consents = pd.concat([of_ngos, of_persons], ignore_index=True)
    files = {liberty_shared.file_name(str(ngo)): own for ngo, own in planting.table.groupby("NGO Code", sort=True)}
    return planting, {**files, liberty_shared.REGISTER_FILE: liberty_shared.register(rng, consents)}


def _write(path: Path, table: pd.DataFrame, source: Source) -> Path:
    if path.suffix == ".xlsx":
        write_workbook(table, path, sheet=source.cases.sheet)
    else:
        write_csv(table, path, delimiter=source.cases.delimiter, encoding=source.cases.encoding)
    return path
