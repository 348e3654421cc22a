"""Invent the persons behind the sample exports.

Their traits follow published figures (``sample_figures.toml``). This module decides who the persons are and how their traits
depend on each other. How a partner writes them down is in one module for each source beside this one; what goes wrong while
writing is in ``planting``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Persons = dict[str, NDArray[Any]]
"""Invented persons: one array for each trait, one entry for each person."""

GENDERS = ("Female", "Male", "TransFemale", "TransMale", "NonConforming")
SEXES = ("Female", "Male")
WITHOUT_TAIL = "philippines"
"""The stream without rare countries: the peak of 2016 in the Philippines is of one country."""


def draw(rng: np.random.Generator, weights: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Draw a column of ``weights`` for each entry of ``rows``.

    Args:
        rng: The source of randomness.
        weights: Weights (rows, outcomes), which need not sum to one.
        rows: The row of ``weights`` to use for each draw.
    """
    cumulative = np.cumsum(weights, axis=1)
    cumulative /= cumulative[:, -1:]
    return (rng.random(len(rows))[:, None] >= cumulative[rows]).sum(axis=1)


def figures() -> dict[str, Any]:
    """Return the published and modelled figures of ``sample_figures.toml``."""
    return tomllib.loads((files("ctdc_pipeline.samples") / "sample_figures.toml").read_text("utf-8"))


def population(rng: np.random.Generator, *, victims: int) -> Persons:
    """Return ``victims`` invented persons.

    The order is random, but always the same for the same state of ``rng``. Traits: stream, source, citizenship and country (ISO
    3166-1 alpha-2, or XK and TB; "" if unknown) and gender (one of ``GENDERS``) as str; registered, born, began and ended
    (days; the last two are of the exploitation); age in completed years at registration; months of exploitation; age_known,
    start_known, months_known (bool); and for each purpose, sector, kind of sexual exploitation, means of control and relation
    of the recruiter a bool array by its codebook name.
    """
    known = figures()
    persons: Persons = {}
    _streams(rng, known["streams"], persons, victims)
    _places(rng, known, persons)
    _genders(rng, known["female"], persons)
    _ages(rng, known, persons)
    _durations(rng, known, persons)
    _purposes(rng, known, persons)
    _means(rng, known, persons)
    _recruiters(rng, known, persons)
    return chosen(persons, rng.permutation(victims))


def chosen(persons: Persons, which: NDArray[Any]) -> Persons:
    """Return the persons at these positions, or where this mask is true."""
    return {trait: values[which] for trait, values in persons.items()}


def _streams(rng: np.random.Generator, streams: dict[str, Any], persons: Persons, victims: int) -> None:
    ends = np.floor(np.cumsum([figure["share"] for figure in streams.values()]) * victims + 0.5).astype(int)
    stream = np.repeat(np.arange(len(streams)), np.diff(ends, prepend=0))
    years = sorted({int(year) for figure in streams.values() for year in figure["years"]})
    weights = np.array([[figure["years"].get(str(year), 0) for year in years] for figure in streams.values()], dtype=float)
    year = np.array(years)[draw(rng, weights, stream)]
    # All months of complete years, but only the first quarter of the last year, where the release in progress ends. Days go up to
    # the 28th, so that every date has an anniversary in every year.
    month = (year - 1970) * 12 + rng.integers(0, np.where(year == years[-1], 3, 12))
    persons["stream"] = np.array(list(streams), dtype=object)[stream]
    persons["source"] = np.array([figure["source"] for figure in streams.values()], dtype=object)[stream]
    persons["registered"] = month.astype("datetime64[M]").astype("datetime64[D]") + rng.integers(0, 28, victims)


def _by_stream(known: dict[str, Any], persons: Persons, figure: str) -> NDArray[np.float64]:
    """Return each person's value of a figure that depends on the stream."""
    return lookup({name: stream[figure] for name, stream in known["streams"].items()}, persons["stream"])


def lookup(table: Mapping[str, float], keys: NDArray[np.object_], default: float = 0.0) -> NDArray[np.float64]:
    """Return the number that a table gives for each key."""
    unique, where = np.unique(keys.astype(str), return_inverse=True)
    return np.array([table.get(key, default) for key in unique.tolist()], dtype=float)[where]


def _places(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    size = len(persons["stream"])
    home, away = np.full(size, "", dtype=object), np.full(size, "", dtype=object)
    rare = np.array(known["tail"]["countries"], dtype=object)
    for stream, pairs in known["corridors"].items():
        persons_of_stream = np.flatnonzero(persons["stream"] == stream)
        pair = draw(rng, np.array([[pair[2] for pair in pairs]], dtype=float), np.zeros(len(persons_of_stream), dtype=np.intp))
        home[persons_of_stream] = np.array([pair[0] for pair in pairs], dtype=object)[pair]
        away[persons_of_stream] = np.array([pair[1] for pair in pairs], dtype=object)[pair]
    tail = (persons["stream"] != WITHOUT_TAIL) & (rng.random(size) < known["tail"]["share"])
    home[tail] = rng.choice(rare, tail.sum())
    stays = tail & (rng.random(size) < 0.5)
    moves = tail & ~stays & (persons["stream"] != "hotline")  # people reported to the hotline are mostly in the United States
    away[stays] = home[stays]
    away[moves] = rng.choice(rare, moves.sum())
    home[rng.random(size) < _by_stream(known, persons, "citizenship_missing")] = ""
    away[rng.random(size) < _by_stream(known, persons, "country_missing")] = ""
    persons["citizenship"], persons["country"] = home, away


def _genders(rng: np.random.Generator, female: dict[str, Any], persons: Persons) -> None:
    size = len(persons["stream"])
    share = lookup(female["by_citizenship"], persons["citizenship"], female["default"])
    of_stream = lookup(female["by_stream"], persons["stream"])
    share = np.where(of_stream > 0, of_stream, share)
    gender = np.where(rng.random(size) * 1000 < share, *SEXES).astype(object)
    late = persons["registered"] >= np.datetime64(f"{female['transgender_from_year']}-01-01")
    transgender = late & (rng.random(size) * 1000 < female["transgender"])
    gender[transgender] = rng.choice(np.array(GENDERS[2:], dtype=object), transgender.sum())
    persons["gender"] = gender


def _sex(persons: Persons) -> NDArray[np.intp]:
    """Return the column of the published tables by gender: 1 for Male, else 0."""
    return np.isin(persons["gender"].astype(str), ["Male", "TransMale"]).astype(np.intp)


def _ages(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    ages, size = known["ages"], len(persons["stream"])
    by_sex = np.array([ages["by_gender"][sex] for sex in SEXES], dtype=float)
    overall = by_sex.sum(axis=0) / by_sex.sum()
    groups = ages["by_citizenship"]
    # One is added to each count, because a band that k-anonymity emptied is rare, not impossible.
    lifts = [(np.array(counts) + 1) / overall for counts in groups.values()] + [np.ones(len(overall))]
    weights = np.concatenate([by_sex * lift for lift in lifts])
    group = lookup({name: i for i, name in enumerate(groups)}, persons["citizenship"], len(groups)).astype(np.intp)
    band = np.array(ages["bands"])[draw(rng, weights, group * 2 + _sex(persons))]
    age = rng.integers(band[:, 0], band[:, 1] + 1)
    month = persons["registered"].astype("datetime64[M]")
    birthday = (month - 12 * age).astype("datetime64[D]") + (persons["registered"] - month.astype("datetime64[D]"))
    persons["age"] = age
    persons["born"] = birthday - rng.integers(0, 360, size)
    persons["age_known"] = rng.random(size) >= _by_stream(known, persons, "age_missing")


def _durations(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    size, age = len(persons["stream"]), persons["age"]
    months = np.exp(rng.normal(np.log(known["months"]["median"]), known["months"]["sigma"], size))
    months = np.minimum(np.ceil(months), np.maximum(1, age * 12 - 6)).astype(int)
    ended = np.maximum(persons["registered"] - rng.integers(1, 120, size), persons["born"])
    began = np.maximum(ended - (months * 30.44).astype(int), persons["born"])
    start = np.where(age < 18, known["start_known"]["minor"], known["start_known"]["adult"])
    persons["months"], persons["began"], persons["ended"] = months, began, ended
    persons["age_at_start"] = ((began - persons["born"]).astype(int) // 365.25).astype(int)
    persons["months_known"] = rng.random(size) < _by_stream(known, persons, "months_recorded")
    persons["start_known"] = persons["age_known"] & (rng.random(size) < start)


def _purposes(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    size, sex = len(persons["stream"]), _sex(persons)
    purpose = np.empty(size, dtype=np.intp)
    for stream in known["streams"]:
        table = known["purposes"][{"legacy": "iom", "mimosa": "iom"}.get(stream, stream)]
        persons_of_stream = np.flatnonzero(persons["stream"] == stream)
        weights = np.array([table[group][name] for group in table for name in SEXES], dtype=float)
        groups = {group: i for i, group in enumerate(table)}
        group = lookup(groups, persons["citizenship"][persons_of_stream], groups["default"]).astype(np.intp)
        purpose[persons_of_stream] = draw(rng, weights, group * 2 + sex[persons_of_stream])
    labour, sexual = np.isin(purpose, (2, 3)), np.isin(purpose, (1, 3))
    persons["isForcedLabour"], persons["isSexualExploit"] = labour, sexual

    zeros = np.zeros(size, dtype=np.intp)
    other_purposes = known["others"]
    kind = draw(rng, np.array([list(other_purposes.values())], dtype=float), zeros)
    persons.update({name: (purpose == 4) & (kind == i) for i, name in enumerate(other_purposes)})

    sectors = known["sectors"]
    weights = np.array([[figure["records"] * figure[name] for figure in sectors.values()] for name in SEXES])
    kind, also = draw(rng, weights, sex), draw(rng, weights, sex)
    second = rng.random(size) < 0.03  # a few work in two sectors
    sector = {name: labour & ((kind == i) | (second & (also == i))) for i, name in enumerate(sectors)}
    persons.update({name: holds for name, holds in sector.items() if name != "none"})

    kinds = known["sexual"]
    kind = draw(rng, np.array([list(kinds.values())], dtype=float), zeros)
    persons.update({name: sexual & (kind == i) for i, name in enumerate(kinds) if name != "none"})


def _means(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    size = len(persons["stream"])
    figures_of = {name: figure for name, figure in known["means"].items() if name != "specified"}
    noted = rng.random(size) < _by_stream(known, persons, "means_recorded")
    # Interviews differ in detail, so flags occur together more often than by chance.
    detail = rng.choice(np.array([0.5, 1.0, 1.5]), size)
    flags = np.empty((size, len(figures_of)), dtype=bool)
    for i, figure in enumerate(figures_of.values()):
        factor = np.where(persons["isSexualExploit"], figure["sexual"], 1.0) * np.where(
            persons["isForcedLabour"], figure["labour"], 1.0
        )
        flags[:, i] = noted & (rng.random(size) < figure["records"] / known["means"]["specified"] * factor * detail)
    without_flag = noted & ~flags.any(axis=1)  # a person with any recorded means has at least one
    records = np.array([[figure["records"] for figure in figures_of.values()]], dtype=float)
    flags[without_flag, draw(rng, records, np.zeros(without_flag.sum(), dtype=np.intp))] = True
    persons.update({name: flags[:, i] for i, name in enumerate(figures_of)})
    persons["isAbduction"] = rng.random(size) < known["abduction"]["records"] / known["abduction"]["of"]


def _recruiters(rng: np.random.Generator, known: dict[str, Any], persons: Persons) -> None:
    table = known["recruiters"]
    minor = (persons["age"] < 18).astype(np.intp)
    woman = (persons["isSexualExploit"] & (_sex(persons) == 0)).astype(np.intp)
    weights = np.array(
        [
            [f["records"] * (f["minor"] if m else 1) * (f["woman"] if w else 1) for f in table.values()]
            for m in (0, 1)
            for w in (0, 1)
        ]
    )
    recruiter = draw(rng, weights, minor * 2 + woman)
    is_recorded = rng.random(len(recruiter)) < _by_stream(known, persons, "recruiter_recorded")
    persons.update({name: is_recorded & (recruiter == i) for i, name in enumerate(table)})
