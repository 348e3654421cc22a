"""Each game finds a planted leak, the records as they are, and nothing in records that have nothing to do with the people."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.audit import games
from ctdc_pipeline.audit.games import INSIDE, OUTSIDE, pairs_of
from ctdc_pipeline.audit.releases import EXACT, NOISY, People, Run, pair_counts, people, runs
from ctdc_pipeline.audit.similarity import closest, likenesses
from ctdc_pipeline.audit.statistics import Figure
from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.privacy.domain import domain_of_table
from ctdc_pipeline.storage.tables import TEXT
from tests.support.audits import EMPTY, PLANTED, SETTINGS, audited, played, table


@pytest.fixture(scope="module")
def target() -> People:
    return audited()


@pytest.fixture(scope="module")
def made(target: People) -> list[Run]:
    return played(target)


def figure(figures: list[Figure], release: str, what: str, *, game: str = "", targets: str = "all") -> Figure:
    (found,) = (
        one
        for one in figures
        if (one.release, one.what, one.targets) == (release, what, targets) and (not game or one.game == game)
    )
    return found


@pytest.mark.parametrize(
    ("attack", "planted", "empty"),
    [("nearest record", PLANTED, EMPTY), ("nearest record, repeated", PLANTED, EMPTY), ("pair counts", EXACT, NOISY)],
)
def test_membership(target: People, made: list[Run], attack: str, planted: str, empty: str) -> None:
    """Guards against an attack that cannot even find people in records, or counts, that are published as they are."""
    found = games.membership(target, made, games.membership_scores(target, made), delta=0.0)
    game = f"membership, {attack}"
    assert figure(found, planted, "right guesses", game=game).low > 0.6
    assert figure(found, planted, "found at 1% false alarms", game=game).low > 0.05
    assert figure(found, planted, "epsilon at least", game=game).value > 0.5
    right = figure(found, empty, "right guesses", game=game)
    assert right.low <= 0.5 <= right.high
    assert figure(found, empty, "found at 1% false alarms", game=game).low < 0.03
    assert figure(found, empty, "epsilon at least", game=game).value == 0
    isolated = figure(found, planted, "right guesses", game=game, targets="most isolated")
    assert isolated.attacks == len(made) * target.isolated


def test_two_releases(target: People, made: list[Run]) -> None:
    """Guards against releases that are each harmless, and of which two tell who came."""
    found = games.comparison(target, made, games.membership_scores(target, made))
    assert figure(found, PLANTED, "right guesses", game="two releases, nearest record").low > 0.8
    assert figure(found, EXACT, "right guesses", game="two releases, pair counts").low > 0.8
    for release, game in ((EMPTY, "nearest record"), (NOISY, "pair counts")):
        right = figure(found, release, "right guesses", game=f"two releases, {game}")
        assert right.low <= 0.5 <= right.high


def test_singling_out(target: People, made: list[Run]) -> None:
    """Guards against unique published combinations that are a person's, told as chance."""
    found = games.singling_out(target, made, rng=np.random.default_rng(1))
    assert figure(found, PLANTED, INSIDE).value == 1
    assert figure(found, PLANTED, INSIDE).attacks > 500
    assert figure(found, PLANTED, OUTSIDE).high < 0.3
    inside, outside = (figure(found, EMPTY, who) for who in (INSIDE, OUTSIDE))
    assert inside.low <= outside.high
    assert outside.low <= inside.high


def test_inference(target: People, made: list[Run]) -> None:
    """Guards against taking for a leak what is true of everybody: only more right answers inside than outside are one."""
    found = games.inference(target, made, rng=np.random.default_rng(1))
    assert figure(found, PLANTED, INSIDE).low > 0.9
    assert figure(found, PLANTED, "more inside than outside").low > 0.2
    more = figure(found, EMPTY, "more inside than outside")
    assert more.low <= 0 <= more.high


def test_linkage(target: People, made: list[Run]) -> None:
    """Guards against records by which two sources find out that they know the same person."""
    found = games.linkage(target, made)
    assert figure(found, PLANTED, "more inside than outside").low > 0.1
    more = figure(found, EMPTY, "more inside than outside")
    assert more.low <= 0 <= more.high


def test_an_empty_release_tells_nothing(target: People, made: list[Run]) -> None:
    """Guards against a crash where nothing can be published, and against figures of attacks that were not possible."""
    bare = [Run(run.member, run.inside, {PLANTED: run.records[PLANTED][:0]}, run.counts, run.values, run.rows) for run in made]
    found = games.membership(target, bare, games.membership_scores(target, bare), delta=0.0)
    found += games.singling_out(target, bare, rng=np.random.default_rng(1))
    found += games.inference(target, bare, rng=np.random.default_rng(1)) + games.linkage(target, bare)
    assert figure(found, PLANTED, INSIDE, game="singling out").attacks == 0
    assert figure(found, PLANTED, INSIDE, game="linkage").value == 0


def test_targets_are_half_isolated(target: People) -> None:
    """Guards against targets that are all alike: those whom nobody resembles have most to lose."""
    likeness = closest(target.codes[target.targets], target.codes, target.weight, target.targets)
    assert len(set(target.targets.tolist())) == len(target.targets) == SETTINGS.targets
    assert likeness[: target.isolated].max() < np.median(likeness[target.isolated :])
    assert not set(target.always.tolist()) & set(target.targets.tolist())


def test_likeness_and_pairs_against_brute_force(target: People) -> None:
    """Guards against an attacker who is weak for a fault in the code."""
    domain, weight = target.domain, target.weight
    record, other = target.codes[0], target.codes[1:40]
    said = [set(row[row >= 0].tolist()) for row in (record, *other)]
    for found, own in zip(likenesses(record, np.ones(7, np.bool_), other, weight), said[1:], strict=True):
        either = sum(weight[list(said[0] | own)])
        assert found == pytest.approx(sum(weight[list(said[0] & own)]) / either)
    counts = pair_counts(target.codes, domain=domain)
    pairs = pairs_of(record, domain=domain)
    filled = np.flatnonzero(record >= 0)
    expected = [
        int(((target.codes[:, a] == record[a]) & (target.codes[:, b] == record[b])).sum())
        for number, a in enumerate(filled)
        for b in filled[number + 1 :]
    ]
    assert counts[pairs].tolist() == expected


def test_a_table_too_small_is_refused() -> None:
    """Guards against figures of a handful of people, also where most rows are empty."""
    small = table(150)
    blank = pa.table({name: pa.nulls(400).cast(TEXT) for name in small.column_names})
    for sensitive in (small, pa.concat_tables([small, blank]).unify_dictionaries()):
        with pytest.raises(ParameterError, match="too few people"):
            people(sensitive, domain=domain_of_table(small), settings=SETTINGS)


def test_releases_follow_from_the_seed(target: People) -> None:
    """Guards against figures that nobody can find again; only the noise of DP may differ."""
    one, other = (runs(target, settings=SETTINGS)[0] for _ in range(2))
    assert one.records.keys() == other.records.keys()
    for name in one.records:
        assert np.array_equal(one.records[name], other.records[name]) == (name != EMPTY)
    assert np.array_equal(one.inside, other.inside)
