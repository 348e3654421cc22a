"""The world behind the sample exports: invented persons whose traits follow published figures (figures.toml).

Belongs here: who the persons are and how their traits depend on each other. Does not belong here: how a partner writes them
down (one module per source beside this one), and anything that goes wrong while writing (planting.py).
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GENDERS = ("Female", "Male", "TransFemale", "TransMale", "NonConforming")
SEXES = ("Female", "Male")
PURPOSES = ("none", "sexual", "labour", "both", "other")
WITHOUT_TAIL = "philippines"


def draw(rng: np.random.Generator, weights: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each entry of ``rows``, draw a column of ``weights`` (rows x outcomes, need not sum to one) by that row's weights."""
    cumulative = np.cumsum(weights, axis=1)
    cumulative /= cumulative[:, -1:]
    return (rng.random(len(rows))[:, None] >= cumulative[rows]).sum(axis=1)


def figures() -> dict[str, Any]:
    """The published and modelled figures, as read from figures.toml."""
    return tomllib.loads(files(__package__).joinpath("figures.toml").read_text("utf-8"))


def population(rng: np.random.Generator, *, victims: int) -> pd.DataFrame:
    """``victims`` invented persons, one row each, in no particular order but always the same for the same generator state.

    Columns: stream, source, citizenship and country as str (ISO 3166-1 alpha-2, or XK and TB; "" unknown); gender (one of
    ``GENDERS``); registered, born, began and ended (dates; the last two of the exploitation); age in completed years at
    registration; months of exploitation (int); age_known, start_known, months_known (bool); and one bool column for each
    purpose, sector, kind of sexual exploitation, means of control and relation of the recruiter, by its codebook name.
    """
    known = figures()
    persons = _streams(rng, known["streams"], victims)
    _places(rng, known, persons)
    _genders(rng, known["female"], persons)
    _ages(rng, known["ages"], persons)
    _durations(rng, known, persons)
    _purposes(rng, known, persons)
    _means(rng, known, persons)
    _recruiters(rng, known, persons)
    return persons.iloc[rng.permutation(victims)].reset_index(drop=True)


def _streams(rng: np.random.Generator, streams: dict[str, Any], victims: int) -> pd.DataFrame:
    ends = np.floor(np.cumsum([figure["share"] for figure in streams.values()]) * victims + 0.5).astype(int)
    stream = np.repeat(np.arange(len(streams)), np.diff(ends, prepend=0))
    years = sorted({int(year) for figure in streams.values() for year in figure["years"]})
    weights = np.array([[figure["years"].get(str(year), 0) for year in years] for figure in streams.values()], dtype=float)
    year = np.array(years)[draw(rng, weights, stream)]
    # Whole months of a complete year, the first quarter of the last: the release in progress ends there. Days up to the 28th,
    # so that every date has an anniversary in every year.
    month = rng.integers(0, np.where(year == years[-1], 3, 12))
    day = rng.integers(0, 28, len(year))
    names = np.array(list(streams))
    sources = np.array([figure["source"] for figure in streams.values()])
    registered = _month(year, month) + day
    return pd.DataFrame({"stream": names[stream], "source": sources[stream], "registered": registered})


def _month(year: NDArray[Any], month: NDArray[Any]) -> NDArray[np.datetime64]:
    return ((year - 1970) * 12 + month).astype("datetime64[M]").astype("datetime64[D]")


def _places(rng: np.random.Generator, known: dict[str, Any], persons: pd.DataFrame) -> None:
    citizenship = np.empty(len(persons), dtype=object)
    country = np.empty(len(persons), dtype=object)
    rare = np.array(known["tail"]["countries"], dtype=object)
    for stream, figure in known["streams"].items():
        at = np.flatnonzero(persons["stream"] == stream)
        pairs = known["corridors"][stream]
        chosen = draw(rng, np.array([[pair[2] for pair in pairs]], dtype=float), np.zeros(len(at), dtype=np.intp))
        home = np.array([pair[0] for pair in pairs], dtype=object)[chosen]
        away = np.array([pair[1] for pair in pairs], dtype=object)[chosen]
        if stream != WITHOUT_TAIL:
            tail = rng.random(len(at)) < known["tail"]["share"]
            home[tail] = rng.choice(rare, tail.sum())
            stays = rng.random(len(at)) < 0.5
            away[tail & stays] = home[tail & stays]
            moves = tail & ~stays & (stream != "hotline")  # a rare citizen the hotline hears of is in the United States
            away[moves] = rng.choice(rare, moves.sum())
        home[rng.random(len(at)) < figure["citizenship_missing"]] = ""
        away[rng.random(len(at)) < figure["country_missing"]] = ""
        citizenship[at], country[at] = home, away
    persons["citizenship"], persons["country"] = citizenship, country


def _genders(rng: np.random.Generator, female: dict[str, Any], persons: pd.DataFrame) -> None:
    share = persons["citizenship"].map(female["by_citizenship"]).fillna(female["default"])
    share = persons["stream"].map(female["by_stream"]).fillna(share).to_numpy(float)
    gender = np.where(rng.random(len(persons)) * 1000 < share, *SEXES).astype(object)
    late = persons["registered"].dt.year.to_numpy() >= female["transgender_from_year"]
    other = late & (rng.random(len(persons)) * 1000 < female["transgender"])
    gender[other] = rng.choice(np.array(GENDERS[2:], dtype=object), other.sum())
    persons["gender"] = gender


def _sex(persons: pd.DataFrame) -> NDArray[np.intp]:
    """Which column of the published tables by gender a person is drawn from: 1 for Male, else 0."""
    return persons["gender"].isin(["Male", "TransMale"]).to_numpy().astype(np.intp)


def _ages(rng: np.random.Generator, ages: dict[str, Any], persons: pd.DataFrame) -> None:
    by_sex = np.array([ages["by_gender"][sex] for sex in SEXES], dtype=float)
    overall = by_sex.sum(axis=0) / by_sex.sum()
    groups = list(ages["by_citizenship"])
    # One added to each count: a band that k-anonymity emptied is rare, not impossible.
    lifts = [(np.array(ages["by_citizenship"][group]) + 1) / overall for group in groups] + [np.ones(len(overall))]
    weights = np.concatenate([by_sex * lift for lift in lifts])
    group = persons["citizenship"].map({name: i for i, name in enumerate(groups)}).fillna(len(groups)).to_numpy(int)
    band = np.array(ages["bands"])[draw(rng, weights, group * 2 + _sex(persons))]
    age = rng.integers(band[:, 0], band[:, 1] + 1)
    missing = persons["stream"].map({name: figure["age_missing"] for name, figure in figures()["streams"].items()})
    registered = persons["registered"].to_numpy().astype("datetime64[D]")
    months = registered.astype("datetime64[M]")
    birthday = (months - 12 * age).astype("datetime64[D]") + (registered - months.astype("datetime64[D]"))
    persons["age"] = age
    persons["born"] = birthday - rng.integers(0, 360, len(age))
    persons["age_known"] = rng.random(len(age)) >= missing.to_numpy(float)


def _durations(rng: np.random.Generator, known: dict[str, Any], persons: pd.DataFrame) -> None:
    size = len(persons)
    months = np.exp(rng.normal(np.log(known["months"]["median"]), known["months"]["sigma"], size))
    months = np.minimum(np.ceil(months), np.maximum(1, persons["age"].to_numpy() * 12 - 6)).astype(int)
    ended = persons["registered"].to_numpy().astype("datetime64[D]") - rng.integers(1, 120, size)
    ended = np.maximum(ended, persons["born"].to_numpy().astype("datetime64[D]") + 1)
    began = np.maximum(ended - (months * 30.44).astype(int), persons["born"].to_numpy().astype("datetime64[D]"))
    recorded = {name: figure["months_recorded"] for name, figure in known["streams"].items()}
    start = np.where(persons["age"] < 18, known["start_known"]["minor"], known["start_known"]["adult"])
    persons["months"], persons["began"], persons["ended"] = months, began, ended
    persons["months_known"] = rng.random(size) < persons["stream"].map(recorded).to_numpy(float)
    persons["start_known"] = persons["age_known"].to_numpy() & (rng.random(size) < start)


def _purposes(rng: np.random.Generator, known: dict[str, Any], persons: pd.DataFrame) -> None:
    purpose, sex, size = np.empty(len(persons), dtype=np.intp), _sex(persons), len(persons)
    tables = {"legacy": "iom", "mimosa": "iom"}
    for stream in known["streams"]:
        table = known["purposes"][tables.get(stream, stream)]
        at = np.flatnonzero(persons["stream"] == stream)
        weights = np.array([table[group][name] for group in table for name in SEXES], dtype=float)
        group = persons["citizenship"].iloc[at].map({name: i for i, name in enumerate(table)})
        default = list(table).index("default")
        purpose[at] = draw(rng, weights, group.fillna(default).to_numpy(int) * 2 + sex[at])
    labour, sexual = np.isin(purpose, (2, 3)), np.isin(purpose, (1, 3))
    persons["isForcedLabour"], persons["isSexualExploit"] = labour, sexual

    zeros = np.zeros(size, dtype=np.intp)
    others = known["others"]
    kind = draw(rng, np.array([list(others.values())], dtype=float), zeros)
    for i, name in enumerate(others):
        persons[name] = (purpose == 4) & (kind == i)

    sectors = known["sectors"]
    weights = np.array([[figure["records"] * figure[name] for figure in sectors.values()] for name in SEXES])
    kind = draw(rng, weights, sex)
    second = rng.random(size) < 0.03  # a few work in two sectors
    also = draw(rng, weights, sex)
    for i, name in enumerate(sectors):
        if name != "none":
            persons[name] = labour & ((kind == i) | (second & (also == i)))

    kinds = known["sexual"]
    kind = draw(rng, np.array([list(kinds.values())], dtype=float), zeros)
    for i, name in enumerate(kinds):
        if name != "none":
            persons[name] = sexual & (kind == i)


def _means(rng: np.random.Generator, known: dict[str, Any], persons: pd.DataFrame) -> None:
    figures_of = {name: figure for name, figure in known["means"].items() if name != "specified"}
    recorded = persons["stream"].map({name: figure["means_recorded"] for name, figure in known["streams"].items()})
    noted = rng.random(len(persons)) < recorded.to_numpy(float)
    # How much was told differs between interviews, so flags come together more often than by chance.
    detail = rng.choice(np.array([0.5, 1.0, 1.5]), len(persons))
    sexual, labour = persons["isSexualExploit"].to_numpy(), persons["isForcedLabour"].to_numpy()
    flags = np.empty((len(persons), len(figures_of)), dtype=bool)
    for i, figure in enumerate(figures_of.values()):
        factor = np.where(sexual, figure["sexual"], 1.0) * np.where(labour, figure["labour"], 1.0)
        chance = figure["records"] / known["means"]["specified"] * factor * detail
        flags[:, i] = noted & (rng.random(len(persons)) < chance)
    silent = noted & ~flags.any(axis=1)  # whoever specified any means specified at least one
    records = np.array([[figure["records"] for figure in figures_of.values()]], dtype=float)
    flags[silent, draw(rng, records, np.zeros(silent.sum(), dtype=np.intp))] = True
    for i, name in enumerate(figures_of):
        persons[name] = flags[:, i]
    persons["isAbduction"] = rng.random(len(persons)) < known["abduction"]["records"] / known["abduction"]["of"]


def _recruiters(rng: np.random.Generator, known: dict[str, Any], persons: pd.DataFrame) -> None:
    table = known["recruiters"]
    minor = (persons["age"] < 18).to_numpy().astype(np.intp)
    woman = (persons["isSexualExploit"].to_numpy() & (_sex(persons) == 0)).astype(np.intp)
    weights = np.array(
        [
            [f["records"] * (f["minor"] if m else 1) * (f["woman"] if w else 1) for f in table.values()]
            for m in (0, 1)
            for w in (0, 1)
        ]
    )
    recruiter = draw(rng, weights, minor * 2 + woman)
    recorded = persons["stream"].map({name: figure["recruiter_recorded"] for name, figure in known["streams"].items()})
    told = rng.random(len(persons)) < recorded.to_numpy(float)
    for i, name in enumerate(table):
        persons[name] = told & (recruiter == i)
