"""The audit as a page for the data team and the approvers, and as JSON. Both are as internal as the sensitive records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ctdc_pipeline.audit import games
from ctdc_pipeline.audit.audit import Audit
from ctdc_pipeline.audit.cubes import PROOF, RECONSTRUCTION
from ctdc_pipeline.audit.mechanisms import FLIP, Proved
from ctdc_pipeline.audit.releases import ANONYMOUS, EXACT, NOISY, PRIVATE, ROUNDED, SAMPLE, SYNTHETIC
from ctdc_pipeline.audit.statistics import FALSE_ALARMS, SURE, Figure
from ctdc_pipeline.products import charts
from ctdc_pipeline.products.changelog import Listing
from ctdc_pipeline.products.page import page
from ctdc_pipeline.release.gates import move
from ctdc_pipeline.storage.files import scratch, staged, write_bytes
from ctdc_pipeline.storage.tables import unwritable
from ctdc_pipeline.storage.zones import PRIVATE_FOLDER

PAGE, FIGURES = "attack_audit.html", "attack_audit.json"
_TABLES = (games.MEMBERSHIP, games.COMPARISON, games.SINGLING_OUT, games.INFERENCE, games.LINKAGE, RECONSTRUCTION, PROOF)
_EPSILON, _RIGHT = "epsilon at least", "right guesses"
_SHORT = {
    SYNTHETIC: "k-synth.",
    PRIVATE: "DP",
    ANONYMOUS: "k-anon.",
    SAMPLE: "sample",
    ROUNDED: "rounded",
    NOISY: "DP c.",
    EXACT: "exact",
}
_NOTHING = "no attack possible"
_PER_MILLE = f"found at {100 * FALSE_ALARMS[1]:g}% false alarms"


def files(done: Audit) -> dict[str, bytes]:
    """The files of an audit by name."""
    return {PAGE: _page(done), FIGURES: json.dumps(done.to_dict(), indent=1, allow_nan=False).encode()}


def write(done: Audit, folder: Path, *, parent: Path, sealed: bool) -> None:
    """Write the files of an audit, whole or not at all, in place of an earlier audit.

    Args:
        done: what the audit found.
        folder: where the files go.
        parent: a folder to make them in, on the same disk.
        sealed: encrypt them if the sensitive zone has a key.

    Raises:
        ResourceError: the disk does not suffice.
    """
    with unwritable(folder), scratch(parent) as staging:
        made = staging / "new"
        made.mkdir(mode=PRIVATE_FOLDER)
        for name, content in files(done).items():
            if sealed:
                write_bytes(content, made / name)
            else:
                with staged(made / name) as part:
                    part.write_bytes(content)
        if folder.exists():
            folder.rename(staging / "old")
        move(made, folder)


def headlines(done: Audit) -> list[tuple[str, str]]:
    """The few figures to look at first."""
    ours = [proved for proved in done.proved if proved.epsilon is not None and proved.mechanism != FLIP]
    lines = [(f"epsilon proved of DP at {proved.epsilon:g}, at least", f"{proved.least:.2f}") for proved in ours]
    lines.append(("the known fault of the published engine", "missed: trust nothing here" if done.blind else "caught"))
    for release in (SYNTHETIC, PRIVATE, SAMPLE):
        best = _best(done, release)
        lines.append((f"of the people in it found at 1% false alarms: {release}", _percent(best.value)))
    return lines


def _page(done: Audit) -> bytes:
    tables = {name.replace(games.COMPARISON, "comparison"): _table(done.figures, name) for name in _TABLES}
    tables["mechanisms"] = _mechanisms(done.proved)
    tables["parameters"] = _parameters(done)
    return page(
        "audit.html",
        version=version("ctdc-pipeline"),
        tables=tables,
        plots={"membership": _plot(done)},
        headlines=headlines(done),
        sure=f"{100 * SURE:g}%",
        k=done.settings.k,
        targets=f"{done.targets:,}",
        runs=done.settings.runs,
    )


def _mechanisms(proved: Sequence[Proved]) -> Listing:
    rows = [
        (
            one.mechanism,
            "nothing" if one.epsilon is None else f"{one.epsilon:g}",
            f"{one.bounds.epsilon:.2f}",
            f"{one.bounds.gaussian_epsilon(delta=one.delta):.2f}" if one.gaussian else "–",
            f"{one.bounds.runs:,}",
            "BROKEN" if one.broken else "holds" if one.epsilon is not None else "–",
        )
        for one in proved
    ]
    head = ("Mechanism", "Promised epsilon", "Proved, at least", "If its noise is Gaussian", "Runs", "Promise")
    return Listing(head, tuple(rows), numbers=(1, 2, 3, 4))


def _table(figures: Sequence[Figure], game: str) -> Listing:
    """The figures of a game: one row for each release, attack and group of targets, one column for what was measured."""
    own = [figure for figure in figures if figure.game.partition(", ")[0] == game]
    measures = list(dict.fromkeys(figure.what for figure in own))
    rows: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for figure in own:
        rows.setdefault((figure.release, figure.game.partition(", ")[2], figure.targets), {})[figure.what] = figure
    names = ["Release", *(["Attack"] if any(attack for _, attack, _ in rows) else []), "Targets"]
    cells = [
        (
            *(name for name in key if name or len(names) == len(key)),
            *(_cell(found.get(what)) for what in measures),
            f"{next(iter(found.values())).attacks:,}",
        )
        for key, found in sorted(rows.items(), key=lambda row: (_order(own, row[0][0]), row[0][1]))
    ]
    head = (*names, *measures, "Attacks")
    return Listing(head, tuple(cells), numbers=tuple(range(len(names), len(head))))


def _order(figures: Sequence[Figure], release: str) -> int:
    return list(dict.fromkeys(figure.release for figure in figures)).index(release)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if not figure.attacks:
        return _NOTHING
    if figure.what == _EPSILON:
        return f"{figure.value:.2f}"
    return f"{_percent(figure.value)} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _percent(part: float) -> str:
    return f"{100 * part:.1f}%"


def _best(done: Audit, release: str) -> Figure:
    """What the best attack finds of a release, at 1% false alarms."""
    own = [one for one in done.figures if one.game.startswith(games.MEMBERSHIP) and one.release == release]
    return max((one for one in own if one.what == _PER_MILLE and one.targets == "all"), key=lambda one: one.value)


def _plot(done: Audit) -> str:
    releases = list(
        dict.fromkeys(one.release for one in done.figures if one.game.startswith(games.MEMBERSHIP) and one.what == _PER_MILLE)
    )
    best = [_best(done, release).value for release in releases]
    labels = [_SHORT.get(release, release) for release in releases]
    texts = [_percent(value) for value in best]
    return charts.bars(best, labels, about="Membership: found at 1% false alarms", texts=texts, axis="release")


def _parameters(done: Audit) -> Listing:
    settings = done.settings
    rows = {
        "People audited": f"{done.rows:,}",
        "Variables": str(done.columns),
        "Targets": f"{done.targets:,}, half of them the most isolated",
        "Runs": str(settings.runs),
        "Repeats with one person, and without": f"{settings.repeats:,}",
        "k": str(settings.k),
        "Epsilon": f"{settings.epsilon:g}",
        "Delta": f"{settings.delta:g}",
        "Seed": str(settings.seed),
        "Software": f"ctdc-pipeline {version('ctdc-pipeline')}",
    }
    return Listing(("Parameter", "Value"), tuple(rows.items()))
