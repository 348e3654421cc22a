"""Write a full set of sample exports, as the landing area expects them.

There is one folder for each source and refresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.ingestion.delivery_store import TERMS
from ctdc_pipeline.ingestion.refreshes import Refresh
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.partners.writing import write
from ctdc_pipeline.samples import a21, export, iom_legacy, iom_mimosa, liberty_shared, otsh, polaris
from ctdc_pipeline.samples.planting import Mask, Planting, Rows
from ctdc_pipeline.samples.population import Persons, chosen, population
from ctdc_pipeline.storage.files import staged

MIN_VICTIMS = 100
REFRESH = "2021-H1"
"""The last refresh: the half-year in which the last persons were registered."""
MAX_REFRESHES = 12
"""The most half-years that the refreshes may span."""
MISSED_REFRESHES = {"a21": 2, "otsh": 2}
"""For how many of the last refreshes a source sends nothing; its earlier deliveries continue to count."""
CLOSED_SOURCE = "iom_legacy"
"""A source that no longer grows, so that it is delivered once."""
# Rows per 1,000 that are excluded because of their person, their sender or a missing consent.
WITHOUT_CONSENT, OPTED_OUT = 6.0, 4.0
STATUS = {
    "not-a-victim": 8.0,
    "test-record": 2.0,
    "individual-without-consent": WITHOUT_CONSENT,
    "pending": 150.0,
    "not-confirmed": 80.0,
}
REFUSING_NGOS = 2
UNKNOWN_NGO = 1.0
REVISED = 10.0
"""Rows per 1,000 that an increment contains again because they were revised."""
INVENTED = "invented = true\n"
"""In the ``delivery.toml`` of every sample, so that everything made from it says that its people do not exist."""


@dataclass(frozen=True)
class SampleSummary:
    """What was written.

    ``rows`` are case rows by source; ``planted`` are, by source, the rows for each rule and each oddity. The rows are those of
    all deliveries together.
    """

    files: tuple[Path, ...]
    victims: int
    rows: Mapping[str, int]
    planted: Mapping[str, Mapping[str, int]]


Files = dict[str, pd.DataFrame | str]
Made = tuple[Planting, dict[Refresh, Files]]
Maker = Callable[[np.random.Generator, Persons, Source, Sequence[Refresh]], Made]


def generate(folder: Path, *, victims: int = 20_000, seed: int = 0, refreshes: int = 1) -> SampleSummary:
    """Write exports about invented persons to ``folder``/<source>/<refresh>/.

    The same arguments give the same bytes.

    Args:
        folder: The target folder.
        victims: The number of persons, at least ``MIN_VICTIMS``.
        seed: The seed, 0 or more.
        refreshes: The number of half-years that the deliveries span, 1 to ``MAX_REFRESHES``. Persons registered before the
            first half-year are in the first delivery.

    Raises:
        ParameterError: If a number is out of its range, or the folder contains other files.
        OSError: If a file cannot be written.
    """
    if victims < MIN_VICTIMS:
        raise ParameterError(f"{victims} victims are too few for a sample", remedy=f"Ask for {MIN_VICTIMS} or more.")
    if seed < 0:
        raise ParameterError("the seed is negative", remedy="Choose 0 or more.")
    if not 1 <= refreshes <= MAX_REFRESHES:
        raise ParameterError(f"{refreshes} refreshes cannot be made", remedy=f"Ask for 1 to {MAX_REFRESHES}.")
    # Each exporter has its own stream of random numbers, so that changing one leaves the files of the others unchanged.
    world_rng, *streams = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(1 + len(MAKERS)))
    persons = population(world_rng, victims=victims)
    plantings: dict[str, Planting] = {}
    contents: dict[Path, tuple[pd.DataFrame | str, Source]] = {}
    for (name, make), rng in zip(MAKERS.items(), streams, strict=True):
        source = SOURCES[name]
        own_persons = chosen(persons, persons["source"] == name)
        plantings[name], deliveries = make(rng, own_persons, source, _sent_refreshes(source, refreshes))
        for refresh, files in deliveries.items():
            delivered_files = {TERMS: INVENTED, **files}
            contents |= {folder / name / refresh.label / file: (content, source) for file, content in delivered_files.items()}
    # A file left over from a larger sample would be taken for part of this one.
    if other_files := {path for name in MAKERS for path in (folder / name).glob("*/*")} - contents.keys():
        raise ParameterError(f"{folder} contains {len(other_files)} other files", remedy="Choose an empty folder.")
    for path, (content, source) in contents.items():
        _write(path, content, source)
    # Each superseded row is an earlier version of one that is in the table.
    rows = {name: len(planting.table) + planting.planted["superseded"] for name, planting in plantings.items()}
    return SampleSummary(tuple(contents), victims, rows, {name: dict(planting.planted) for name, planting in plantings.items()})


def _sent_refreshes(source: Source, refreshes: int) -> list[Refresh]:
    """Return the refreshes for which a source sends something."""
    last = 2 * int(REFRESH[:4]) + int(REFRESH[-1])
    missed = MISSED_REFRESHES.get(source.name, 0)
    halves = range(last - max(refreshes, missed + 1), last - missed)
    periods = [Refresh.parse(f"{half // 2}-H{half % 2 + 1}") for half in halves]
    return periods[:1] if source.name == CLOSED_SOURCE else periods


def _since(days: NDArray[np.datetime64], sent: Sequence[Refresh]) -> Rows:
    """Return the position of the first delivery that covers each day.

    It is the last delivery if none covers the day.
    """
    ends = np.array([refresh.last for refresh in sent], dtype="datetime64[D]")
    return np.minimum(np.searchsorted(ends, days), len(sent) - 1)


def _snapshots(planting: Planting, since: Rows, sent: Sequence[Refresh], files: Callable[[int, Mask], Files]) -> Made:
    """Make deliveries of all rows known at the time, each replacing the one before.

    ``since`` gives for each person the delivery from which the person is known.
    """
    known = [since[planting.origin] <= number for number in range(len(sent))]
    planting.planted["superseded"] += sum(int(rows.sum()) for rows in known[:-1])
    return planting, {sent[number]: files(number, rows) for number, rows in enumerate(known) if rows.any()}


def _name(file: str, refresh: Refresh) -> str:
    return file.format(label=refresh.label, day=refresh.last)


def one_file(file: str, export_of: Callable[[np.random.Generator, Persons], pd.DataFrame]) -> Maker:
    """Return a function that makes the deliveries of a source with one file and no lists."""

    def make(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
        planting = Planting(rng, source, export_of(rng, persons))
        _defects(planting, persons)

        def files(number: int, rows: Mask) -> Files:
            return {_name(file, sent[number]): planting.table.loc[rows]}

        return _snapshots(planting, _since(persons["registered"], sent), sent, files)

    return make


def _polaris(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
    """Make increments with new and revised cases, and the opt-outs until then."""
    table, since, last = polaris.rows(rng, persons), _since(persons["registered"], sent), len(sent) - 1
    planting = Planting(rng, source, table)
    planting.already("reported-too-early", persons["registered"] < np.datetime64(source.reported_from))
    single_victim = ~table["Case_ID"].duplicated(keep=False).to_numpy(bool)
    victims, cases = planting.take("opted-out", OPTED_OUT / 2), planting.take("opted-out", OPTED_OUT / 2, single_victim)
    strangers = pd.DataFrame({"Case_ID": ["C9999998", "C9999999"], "Victim_ID": ["V01", ""]})
    identity_columns = table[["Case_ID", "Victim_ID"]]
    listed = pd.concat(
        [identity_columns.loc[victims], identity_columns.loc[cases].assign(Victim_ID=""), strangers], ignore_index=True
    )
    _defects(planting, persons)
    opt_outs = polaris.opt_outs(rng, listed)
    asked = pd.to_datetime(opt_outs["Requested_On"], format=source.cases.date_formats[0]).to_numpy("datetime64[D]")
    # A person who opts out is a case by then, except the two who never were one.
    on_list = np.maximum(_since(asked, sent), np.concatenate([since[victims], since[cases], [last, last]]))

    first, revised_in = since[planting.origin], np.full(len(planting.origin), last + 1)
    first_versions = planting.table.copy()
    if last:
        revised = planting.take("superseded", REVISED, first < last)
        revised_in[revised] = rng.integers(first[revised] + 1, last + 1)
        first_versions.loc[revised] = polaris.before_revision(first_versions.loc[revised])
    deliveries: dict[Refresh, Files] = {}
    for number, refresh in enumerate(sent):
        rows = pd.concat([first_versions.loc[first == number], planting.table.loc[revised_in == number]])
        if deliveries or len(rows):
            known_opt_outs = opt_outs.loc[on_list <= number]
            deliveries[refresh] = {_name(polaris.FILE, refresh): rows, _name(polaris.OPT_OUT_FILE, refresh): known_opt_outs}
            if number and len(deliveries) > 1:
                deliveries[refresh][TERMS] = f'{INVENTED}kind = "increment"\nsince = "{sent[number - 1]}"\n'
    return planting, deliveries


def _liberty_shared(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
    """Make a file for each NGO, and the consent register as it stands.

    Consents may have been withdrawn in it.
    """
    table, since = liberty_shared.rows(rng, persons), _since(persons["registered"], sent)
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
    listed = np.concatenate([np.zeros(len(ngos), dtype=int), np.delete(since, unlisted)])
    _defects(planting, persons)
    sent_by = planting.table["NGO Code"].copy()
    # Never the first row of a file: a file with only unknown organisations would be refused, not quarantined.
    strays = sent_by.iloc[np.argsort(since[planting.origin], kind="stable")].duplicated().sort_index().to_numpy(bool)
    planting.mark("unknown-organisation", UNKNOWN_NGO, source.cases.having("case_id")[:1], "NGO999", strays)
    register = liberty_shared.register(rng, consents)
    withdrawn = rng.integers(0, len(sent), len(register))

    def files(number: int, rows: Mask) -> Files:
        of_ngos = planting.table.loc[rows].groupby(sent_by[rows], sort=True)
        own = {liberty_shared.file_name(str(ngo)): part for ngo, part in of_ngos}
        known = register.copy()
        known.loc[withdrawn > number, "Consent to CTDC"] = "Yes"
        return {**own, _name(liberty_shared.REGISTER_FILE, sent[number]): known.loc[listed <= number]}

    return _snapshots(planting, since, sent, files)


MAKERS: dict[str, Maker] = {
    "iom_legacy": one_file(iom_legacy.FILE, iom_legacy.rows),
    "iom_mimosa": one_file(iom_mimosa.FILE, iom_mimosa.rows),
    "liberty_shared": _liberty_shared,
    "polaris": _polaris,
    "a21": one_file(a21.FILE, a21.rows),
    "otsh": one_file(otsh.FILE, otsh.rows),
}
"""How the deliveries of each source are made. Append new sources, so that the others stay as they are."""


def _defects(planting: Planting, persons: Persons) -> None:
    """Mark rows with each status that excludes a row, and plant every other kind of defect."""
    for field in planting.source.cases.having("status"):
        for code in field.codes:
            for rule in code.means:
                planting.mark(rule, STATUS[rule], [field], code.code)
    planting.defects(registered_again=persons["registered"].max().astype(object))
    planting.oddities()


def _write(path: Path, content: pd.DataFrame | str, source: Source) -> None:
    if isinstance(content, str):
        with staged(path) as part:
            part.write_text(content, encoding="utf-8")
    else:
        cells = export.typed(content, source.cases) if path.suffix == ".xlsx" else content
        write(cells, path, layout=source.cases)
