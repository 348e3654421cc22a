"""Writes a full set of sample exports, a folder a source and refresh, as the landing zone takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.files import staged
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.partners.writing import write
from ctdc_pipeline.refreshes import Refresh
from ctdc_pipeline.samples import a21, export, iom_legacy, iom_mimosa, liberty_shared, otsh, polaris
from ctdc_pipeline.samples.planting import Mask, Planting, Rows
from ctdc_pipeline.samples.population import Persons, chosen, population
from ctdc_pipeline.store import TERMS

SMALLEST = 100
REFRESH = "2021-H1"
"""The last refresh: the half-year in which the last persons were registered."""
MOST = 12
"""How many half-years the refreshes may span."""
# From how many of the last refreshes nothing comes, by source, if there are more; what came before is carried forward. The
# legacy workbook no longer grows, so it comes once.
SILENT = {"iom_legacy": MOST, "a21": 2, "otsh": 2}
# Rows among each 1,000 that stay out for who they are about, who sent them or what was agreed.
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
# Rows among each 1,000 that an increment brings again because they were revised.
REVISED = 10.0


@dataclass(frozen=True)
class SampleSummary:
    """What was written: the files, case rows by source, and by source the rows that each rule must find, and each oddity.

    Rows are those of all deliveries together.
    """

    files: tuple[Path, ...]
    victims: int
    rows: Mapping[str, int]
    planted: Mapping[str, Mapping[str, int]]


Files = dict[str, pd.DataFrame | str]
Made = tuple[Planting, dict[Refresh, Files]]
Maker = Callable[[np.random.Generator, Persons, Source, Sequence[Refresh]], Made]


def generate(folder: Path, *, victims: int = 20_000, seed: int = 0, refreshes: int = 1) -> SampleSummary:
    """Write exports about ``victims`` invented persons to ``folder``/<source>/<refresh>/; same arguments, same bytes.

    The deliveries span so many half-years as ``refreshes``; whoever was registered before the first one is in it. Raises
    ParameterError for a negative seed, fewer than ``SMALLEST`` victims, refreshes other than 1 to ``MOST`` or a folder that holds
    other files, and OSError.
    """
    if victims < SMALLEST:
        raise ParameterError(f"{victims} victims are too few for a sample", remedy=f"Ask for {SMALLEST} or more.")
    if seed < 0:
        raise ParameterError("a seed is not negative", remedy="Choose 0 or more.")
    if not 1 <= refreshes <= MOST:
        raise ParameterError(f"{refreshes} refreshes cannot be made", remedy=f"Ask for 1 to {MOST}.")
    # A stream of random numbers each, so that a change to one exporter leaves the other files as they are.
    world, *streams = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(1 + len(MAKERS)))
    persons = population(world, victims=victims)
    plantings: dict[str, Planting] = {}
    made: dict[Path, tuple[pd.DataFrame | str, Source]] = {}
    for (name, make), rng in zip(MAKERS.items(), streams, strict=True):
        source = SOURCES[name]
        own = chosen(persons, persons["source"] == name)
        plantings[name], deliveries = make(rng, own, source, _sent(source, refreshes))
        for refresh, files in deliveries.items():
            made |= {folder / name / refresh.label / file: (content, source) for file, content in files.items()}
    # A file of a larger sample left beside a smaller one would be taken for part of it.
    if others := {path for name in MAKERS for path in (folder / name).glob("*/*")} - made.keys():
        raise ParameterError(f"{folder} holds {len(others)} other files", remedy="Choose an empty folder.")
    for path, (content, source) in made.items():
        _write(path, content, source)
    # Each superseded row is an earlier version of one that is in the table.
    rows = {name: len(planting.table) + planting.planted["superseded"] for name, planting in plantings.items()}
    return SampleSummary(tuple(made), victims, rows, {name: dict(planting.planted) for name, planting in plantings.items()})


def _sent(source: Source, refreshes: int) -> list[Refresh]:
    """The refreshes for which a source sends something."""
    last = 2 * int(REFRESH[:4]) + int(REFRESH[-1])
    halves = range(last - refreshes, last)
    periods = [Refresh.parse(f"{half // 2}-H{half % 2 + 1}") for half in halves]
    return periods[: max(1, refreshes - SILENT.get(source.name, 0))]


def _since(days: NDArray[np.datetime64], sent: Sequence[Refresh]) -> Rows:
    """The position of the first delivery that covers each day; the last one where none does."""
    ends = np.array([refresh.last for refresh in sent], dtype="datetime64[D]")
    return np.minimum(np.searchsorted(ends, days), len(sent) - 1)


def _snapshots(planting: Planting, since: Rows, sent: Sequence[Refresh], files: Callable[[int, Mask], Files]) -> Made:
    """Deliveries of all rows known by then, each replacing the one before. ``since`` says of each person when they are known."""
    known = [since[planting.origin] <= number for number in range(len(sent))]
    planting.planted["superseded"] += sum(int(rows.sum()) for rows in known[:-1])
    return planting, {sent[number]: files(number, rows) for number, rows in enumerate(known) if rows.any()}


def _name(file: str, refresh: Refresh) -> str:
    return file.format(label=refresh.label, day=refresh.last)


def one_file(file: str, export_of: Callable[[np.random.Generator, Persons], pd.DataFrame]) -> Maker:
    """Makes the deliveries of a source that sends one ``file`` of all its cases and no list."""

    def make(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
        planting = Planting(rng, source, export_of(rng, persons))
        _defects(planting, persons)

        def files(number: int, rows: Mask) -> Files:
            return {_name(file, sent[number]): planting.table.loc[rows]}

        return _snapshots(planting, _since(persons["registered"], sent), sent, files)

    return make


def _polaris(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
    """What is new since the last delivery, and cases that were revised; the list of all who opted out by then."""
    table, since, last = polaris.rows(rng, persons), _since(persons["registered"], sent), len(sent) - 1
    planting = Planting(rng, source, table)
    planting.already("reported-too-early", persons["registered"] < np.datetime64(source.reported_from))
    alone = ~table["Case_ID"].duplicated(keep=False).to_numpy(bool)
    victims, cases = planting.take("opted-out", OPTED_OUT / 2), planting.take("opted-out", OPTED_OUT / 2, alone)
    nobody = pd.DataFrame({"Case_ID": ["C9999998", "C9999999"], "Victim_ID": ["V01", ""]})
    named = table[["Case_ID", "Victim_ID"]]
    listed = pd.concat([named.loc[victims], named.loc[cases].assign(Victim_ID=""), nobody], ignore_index=True)
    _defects(planting, persons)
    opt_outs = polaris.opt_outs(rng, listed)
    asked = pd.to_datetime(opt_outs["Requested_On"], format=source.cases.date_formats[0]).to_numpy("datetime64[D]")
    # Who asks is a case by then, but for those who never were one.
    on_list = np.maximum(_since(asked, sent), np.concatenate([since[victims], since[cases], [last, last]]))

    first, again = since[planting.origin], np.full(len(planting.origin), last + 1)
    before = planting.table.copy()
    if last:
        revised = planting.take("superseded", REVISED, first < last)
        again[revised] = rng.integers(first[revised] + 1, last + 1)
        before.loc[revised] = polaris.before_revision(before.loc[revised])
    deliveries: dict[Refresh, Files] = {}
    for number, refresh in enumerate(sent):
        rows = pd.concat([before.loc[first == number], planting.table.loc[again == number]])
        if deliveries or len(rows):
            known = opt_outs.loc[on_list <= number]
            deliveries[refresh] = {_name(polaris.FILE, refresh): rows, _name(polaris.OPT_OUT_FILE, refresh): known}
            if number and len(deliveries) > 1:
                deliveries[refresh][TERMS] = f'kind = "increment"\nsince = "{sent[number - 1]}"\n'
    return planting, deliveries


def _liberty_shared(rng: np.random.Generator, persons: Persons, source: Source, sent: Sequence[Refresh]) -> Made:
    """A file an NGO and the consent register as it stands, in which a yes may have become a no."""
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
    # Never the first rows of a file: a whole file of strangers would be refused, not quarantined.
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
"""How the deliveries of each source are made; a new one goes last, so that the others stay as they are."""


def _defects(planting: Planting, persons: Persons) -> None:
    """Mark some rows with each status for which a row stays out, and plant whatever else goes wrong."""
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
