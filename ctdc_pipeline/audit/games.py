"""Games against releases: who is in them, whom they single out, what they tell of a person, whose halves they link.

Each game is played with people inside and with the same people outside. What it reaches with those outside is what the
population is like; only what is beyond that, the release tells of the people in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ctdc_pipeline.audit.releases import COUNTS, RECORDS, People, Run, pair_counts
from ctdc_pipeline.audit.similarity import Codes, Flags, Reals, closest, likenesses
from ctdc_pipeline.audit.statistics import Figure, detection, difference, epsilon_of_scores, share
from ctdc_pipeline.privacy.domain import Domain

MEMBERSHIP, SINGLING_OUT, INFERENCE, LINKAGE = "membership", "singling out", "inference", "linkage"
COMPARISON = "two releases"
INSIDE, OUTSIDE = "people inside", "people outside"
COMBINED = 4
"""Values in a predicate that singles out."""
PREDICATES = 1000
DRAWS_PER_PREDICATE = 10
LEAST_VARIANCE = 0.25
"""Of the count of a pair, so that one that never varied in the runs is not taken for exact."""
NEAREST = 10
"""Published records that a link may lead to."""

Ints = npt.NDArray[np.int64]
Scores = dict[str, Reals]
"""Per release: how sure an attacker is that each target is inside each run, float64 (runs, targets)."""


def membership_scores(people: People, runs: Sequence[Run]) -> dict[str, Scores]:
    """What three attacks say of every target, by attack: by the nearest record, and by the counts of the target's pairs.

    All but the first know how the target fares in the other runs, as somebody does who can repeat the release with targets in or
    out.
    """
    targets = people.codes[people.targets]
    nobody = np.full(len(targets), -1)
    nearest = {
        name: np.stack([closest(targets, run.records[name], people.weight, nobody) for run in runs]) for name in _names(runs)
    }
    counted: Scores = {}
    for name in (*_names(runs), *COUNTS):
        counts = [run.counts[name] if name in COUNTS else pair_counts(run.records[name], domain=people.domain) for run in runs]
        counted[name] = _pair_scores(targets, np.stack(counts), domain=people.domain)
    repeated = {name: _calibrated(scores) for name, scores in nearest.items()}
    # Of two people as like to a record, the one of whom it says more is surer to be the one in it.
    bits = np.where(targets >= 0, people.weight[targets], 0.0).sum(axis=1)
    nearest = {name: scores + bits * 1e-4 for name, scores in nearest.items()}
    return {"nearest record": nearest, "nearest record, repeated": repeated, "pair counts": counted}


def membership(people: People, runs: Sequence[Run], scores: dict[str, Scores], *, delta: float) -> list[Figure]:
    """Who is inside: right guesses and detection by group of targets, and the epsilon that the surest guesses prove."""
    member = np.stack([run.member for run in runs])
    figures: list[Figure] = []
    for attack, by_release in scores.items():
        for release, said in by_release.items():
            for group, marks in people.groups.items():
                inside, outside = (said[:, marks][member[:, marks] == side] for side in (True, False))
                figures += detection(f"{MEMBERSHIP}, {attack}", release, group, inside, outside)
                proved = epsilon_of_scores(inside, outside, delta=delta)
                number = len(inside) + len(outside)
                figures.append(
                    Figure(f"{MEMBERSHIP}, {attack}", release, group, "epsilon at least", proved, proved, np.inf, number)
                )
    return figures


def comparison(people: People, runs: Sequence[Run], scores: dict[str, Scores]) -> list[Figure]:
    """Who came, from two releases of which one has a person and the other has not: did the person come or go?"""
    member = np.stack([run.member for run in runs])
    steps = member[1:].astype(int) - member[:-1].astype(int)
    figures: list[Figure] = []
    for attack, by_release in scores.items():
        if attack.endswith("repeated"):
            continue  # what is usual for a target cancels out in a difference
        for release, said in by_release.items():
            change = np.diff(said, axis=0)
            figures += detection(f"{COMPARISON}, {attack}", release, "all", change[steps == 1], change[steps == -1])
    return figures


def singling_out(people: People, runs: Sequence[Run], *, rng: np.random.Generator) -> list[Figure]:
    """Take four values that only one published record has together: does exactly one person have them?

    Beside it: exactly one of as many people outside; and one person inside, with values drawn by their frequencies alone.
    """
    figures: list[Figure] = []
    for release in _names(runs):
        hits = {INSIDE: 0, OUTSIDE: 0, "values guessed": 0}
        tries = 0
        for run in runs:
            published, inside = run.records[release], people.codes[run.inside]
            rest = np.setdiff1d(np.arange(len(people.codes)), run.inside)
            outside = people.codes[rng.permutation(rest)[: len(inside)]]
            wanted = -(-PREDICATES // len(runs))
            for row in published[rng.integers(0, len(published), DRAWS_PER_PREDICATE * wanted)] if len(published) else ():
                columns = rng.permutation(np.flatnonzero(row >= 0))[:COMBINED]
                if len(columns) < COMBINED or _holders(published, row, columns) != 1:
                    continue
                guess = np.array([published[rng.choice(np.flatnonzero(published[:, at] >= 0)), at] for at in columns])
                whole = np.full(len(row), -1, np.int32)
                whole[columns] = guess
                hits[INSIDE] += _holders(inside, row, columns) == 1
                hits[OUTSIDE] += _holders(outside, row, columns) == 1
                hits["values guessed"] += _holders(inside, whole, columns) == 1
                tries += 1
                wanted -= 1
                if not wanted:
                    break
        figures += [share(SINGLING_OUT, release, "all", who, number, tries) for who, number in hits.items()]
    return figures


def inference(people: People, runs: Sequence[Run], *, rng: np.random.Generator) -> list[Figure]:
    """Know all of a person but one variable: is what the most similar published records say there right?

    The variable is one that the person has a value in, or one that it has none in, as a coin falls. Beside it stands the answer
    that most often is right for the variable, in the release and for nobody in particular.
    """
    secret = np.array([_secret(record, rng) for record in people.codes[people.targets]])
    figures: list[Figure] = []
    for release in _names(runs):
        right = np.zeros((len(runs), len(secret)), np.bool_)
        naive = np.zeros_like(right)
        for number, run in enumerate(runs):
            published = run.records[release]
            for target, (row, column) in enumerate(zip(people.targets, secret.tolist(), strict=True)):
                truth = people.codes[row, column]
                right[number, target] = _guess(people, published, int(row), column) == truth
                naive[number, target] = _commonest(published[:, column]) == truth
        figures += _inside_outside(INFERENCE, release, right, people, runs)
        member = np.stack([run.member for run in runs])
        figures.append(share(INFERENCE, release, "all", "naive guess", int(naive[member].sum()), int(member.sum())))
    return figures


def linkage(people: People, runs: Sequence[Run]) -> list[Figure]:
    """Have two halves of a person's variables from two sources: do both lead to the same published record?"""
    columns = people.codes.shape[1]
    halves = [np.arange(columns) % 2 == side for side in (0, 1)]
    figures: list[Figure] = []
    for release in _names(runs):
        linked = np.zeros((len(runs), len(people.targets)), np.bool_)
        for number, run in enumerate(runs):
            published = run.records[release]
            for target, row in enumerate(people.targets):
                leads = [_leads(people, published, int(row), half) for half in halves]
                linked[number, target] = bool(leads[0] & leads[1])
        figures += _inside_outside(LINKAGE, release, linked, people, runs)
    return figures


def _names(runs: Sequence[Run]) -> list[str]:
    """The releases of records that there are."""
    return [name for name in RECORDS if name in runs[0].records]


def _calibrated(scores: Reals) -> Reals:
    """Scores (runs, targets) less the mean of the same target in the other runs."""
    return (scores - scores.mean(axis=0)) * len(scores) / (len(scores) - 1)


def _pair_scores(targets: Codes, counts: Reals, *, domain: Domain) -> Reals:
    """By how much the counts of a target's pairs are above what they are in the other runs, each by how much it varies.

    A count varies with the coins of the targets that have the pair, and with what the release does to it.
    """
    scores = np.zeros((len(counts), len(targets)))
    coins = pair_counts(targets, domain=domain) / 4
    for number, record in enumerate(targets):
        pairs = pairs_of(record, domain=domain)
        if len(pairs):
            own = counts[:, pairs]
            variance = own.var(axis=0, ddof=1) + coins[pairs] + LEAST_VARIANCE
            scores[:, number] = ((own - own.mean(axis=0)) / variance).sum(axis=1)
    return scores * len(counts) / (len(counts) - 1)


def pairs_of(record: Codes, *, domain: Domain) -> Ints:
    """The numbers of the pairs of attributes of ``record``, by ``Domain.blocks``."""
    filled = np.flatnonzero(record >= 0)
    a, b = (filled[side] for side in np.triu_indices(len(filled), 1))
    size = domain.first[b + 1] - domain.first[b]
    return domain.blocks[a, b] + (record[a] - domain.first[a]) * size + record[b] - domain.first[b]


def _holders(records: Codes, wanted: Codes, columns: Ints) -> int:
    """How many records have what ``wanted`` has in ``columns``."""
    return int((records[:, columns] == wanted[columns]).all(axis=1).sum())


def _secret(record: Codes, rng: np.random.Generator) -> int:
    sides = [side for side in (np.flatnonzero(record >= 0), np.flatnonzero(record < 0)) if len(side)]
    return int(rng.choice(sides[int(rng.integers(len(sides)))]))


def _guess(people: People, published: Codes, row: int, column: int) -> int:
    """What the published records that are most like a person, but for ``column``, say there; the most usual, if they differ."""
    known = np.ones(published.shape[1], np.bool_)
    known[column] = False
    alike = likenesses(people.codes[row], known, published, people.weight)
    if not len(alike):
        return -1
    return _commonest(published[alike >= alike.max() - 1e-12, column])


def _commonest(values: Codes) -> int:
    return int(np.bincount(values + 1).argmax()) - 1 if len(values) else -1


def _leads(people: People, published: Codes, row: int, half: Flags) -> set[int]:
    """Up to ``NEAREST`` published records that are most like a person in half of the variables; all of them equally so."""
    alike = likenesses(people.codes[row], half, published, people.weight)
    best = alike.max(initial=0.0)
    return {*np.flatnonzero(alike >= best - 1e-12)[:NEAREST].tolist()} if best > 0 else set()


def _inside_outside(game: str, release: str, hits: Flags, people: People, runs: Sequence[Run]) -> list[Figure]:
    """Hits (runs, targets) as shares of those inside and outside, and their difference, by group of targets."""
    member = np.stack([run.member for run in runs])
    figures: list[Figure] = []
    for group, marks in people.groups.items():
        own, side = hits[:, marks], member[:, marks]
        inside = share(game, release, group, INSIDE, int(own[side].sum()), int(side.sum()))
        outside = share(game, release, group, OUTSIDE, int(own[~side].sum()), int((~side).sum()))
        figures += [inside, outside, difference(inside, outside, what="more inside than outside")]
    return figures
