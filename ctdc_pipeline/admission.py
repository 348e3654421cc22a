"""Which rows may enter: opt-outs, consent, status, first day of reports, and duplicates.

A row that is left out here is left out whatever its values are; rows that break a rule of the codebook come from ``derivation``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.derivation import Derived, Mask, Texts, coded, identities, parse_days, pseudonyms, texts
from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.partners.layout import Field, Layout, Source

EXCLUSIONS = {
    "superseded": "a later delivery replaces the row: a snapshot all of its partner's rows, an increment those of its cases",
    "opted-out": "the person asked to be left out",
    "organisation-without-consent": "the organisation did not consent to contribute",
    "individual-without-consent": "the person did not consent, or no consent is on record",
    "pending": "whether the person is a victim of trafficking has not been decided yet",
    "not-confirmed": "an authority or organisation that looked into it did not confirm that the person is a victim",
    "not-a-victim": "the record is of someone who is not a victim of trafficking",
    "test-record": "the record was made for training, testing or demonstration",
    "reported-too-early": "reported before the first day from which the partner contributes",
    "duplicate-case": "the case is there already; the most complete record of it stays, of equals the first",
}
"""Rules that leave a row out, in the order in which they are tried, and what each means."""

DOUBTFUL = 3
"""So many people on one opt-out list of whom nobody ever was a case are not believed."""


@dataclass(frozen=True)
class Admission:
    """What becomes of each row of a source. Exactly one holds: it is accepted, quarantined, or ``excluded`` holds the rule."""

    case_keys: Texts
    accepted: Mask
    quarantined: Mask
    excluded: Texts
    warnings: tuple[str, ...]


def admit(derived: Derived, *, source: Source, tables: Mapping[str, pa.Table], key: bytes) -> Admission:
    """Decide on every row of ``tables[source.name]``, of which ``derived`` holds the variables, by the lists among ``tables``.

    An organisation unknown to the consent register becomes a broken rule in ``derived``. Raises DeliveryError where a list cannot
    be relied on.
    """
    raw, layout = tables[source.name], source.cases
    parts = identities(raw, layout=layout)
    excluded = np.full(raw.num_rows, None, object)
    warnings: list[str] = []
    if source.opt_outs:
        _opt_out(excluded, parts, tables[f"{source.name}_opt_outs"], source, source.opt_outs)
    if source.consents:
        warnings += _consent(excluded, parts, tables[f"{source.name}_consents"], source, source.consents, raw, derived)
    for field in layout.having("status"):
        meaning, _ = coded(raw, field=field, layout=layout)
        _exclude(excluded, meaning, pd.notna(meaning))
    if source.reported_from:
        days, _ = parse_days(raw, field=layout.having("registered")[0], layout=layout)
        _exclude(excluded, "reported-too-early", days < np.datetime64(source.reported_from, "D"))
    # Whose identity is blank can be held against no list, so it is quarantined for that and nothing else.
    excluded[np.logical_or.reduce([part == "" for part in parts])] = None
    quarantined = derived.quarantined & pd.isna(excluded)
    keys = pseudonyms(parts, source=source.name, key=key)
    remaining = ~quarantined & pd.isna(excluded)
    _exclude(excluded, "duplicate-case", _repeats(keys, derived, remaining))
    return Admission(keys, ~quarantined & pd.isna(excluded), quarantined, excluded, tuple(warnings))


def unmatched(source: Source, *, layout: Layout, opt_outs: pa.Table, people: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """A warning if some of ``opt_outs``, read in ``layout``, match nobody of ``people``: the identities of all cases ever sent.

    Raises DeliveryError if nothing of a list, or of all lists together, matches anybody: then the list and the cases do not use
    the same numbers. Fewer than ``DOUBTFUL`` people in one list may well be strangers.
    """
    entries = _entries(opt_outs, source, layout)
    groups = {(*row[:-1], "") for row in people}
    names = [*zip(*entries, strict=True)]
    known = _among(entries, people) | _among(entries, groups)
    strangers = {name for name, one in zip(names, known, strict=True) if not one}
    lists: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for refresh, file, name in zip(*(opt_outs.column(c).to_pylist() for c in ("_refresh", "_file")), names, strict=True):
        lists.setdefault((refresh, file), set()).add(name)
    for (refresh, file), own in sorted(lists.items()):
        if own <= strangers and (len(own) >= DOUBTFUL or not known.any()):
            raise DeliveryError(
                "the opt-out list matches no case of the export",
                remedy="Check that both use the same numbers; publishing would include people who asked to be left out.",
                partner=source.name,
                refresh=refresh,
                file=file,
            )
    if not strangers:
        return ()
    return (f"{source.name}: {len(strangers)} of {len({*names})} opt-outs match no case of the export",)


def _exclude(excluded: Texts, rule: str | Texts, mask: Mask) -> None:
    """Mark the rows in ``mask`` that no earlier rule has left out."""
    free = mask & pd.isna(excluded)
    excluded[free] = rule[free] if isinstance(rule, np.ndarray) else rule


def _among(parts: Sequence[Texts], names: Collection[tuple[str, ...]]) -> Mask:
    """Whose identity is one of ``names``."""
    return np.fromiter((row in names for row in zip(*parts, strict=True)), bool, len(parts[0]))


def _entries(table: pa.Table, source: Source, layout: Layout) -> list[Texts]:
    """The identities a list names; refuses an entry that names nobody."""
    parts = identities(table, layout=layout)
    _refuse_entry(parts[0] == "", "the entry names nobody", table, source, layout.having("case_id")[0])
    return parts


def _refuse_entry(mask: Mask, message: str, table: pa.Table, source: Source, field: Field) -> None:
    """Refuse the delivery for the first entry of a list in ``mask``."""
    for position in np.flatnonzero(mask)[:1]:
        raise DeliveryError(
            message,
            remedy="Complete or remove the entry.",
            partner=source.name,
            refresh=table.column("_refresh")[position].as_py(),
            file=table.column("_file")[position].as_py(),
            row=table.column("_row")[position].as_py(),
            column=field.name,
        )


def _opt_out(excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout) -> None:
    named = {*zip(*_entries(table, source, layout), strict=True)}
    groups = [*parts[:-1], np.full(len(parts[-1]), "", object)]
    _exclude(excluded, "opted-out", _among(parts, named) | _among(groups, named))


def _consent(
    excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout, raw: pa.Table, derived: Derived
) -> list[str]:
    entries = _entries(table, source, layout)
    (status,) = layout.having("status")
    refusal, unknown = coded(table, field=status, layout=layout)
    unsaid = unknown | (texts(table, field=status, layout=layout) == "")
    _refuse_entry(unsaid, "the entry does not say whether consent was given", table, source, status)
    whole = entries[-1] == ""  # An entry without a person is the organisation's own.
    refused = pd.notna(refusal)
    listed = {*entries[0][whole]}
    member = parts[0]
    unlisted = np.array([name != "" and name not in listed for name in member], bool)
    numbers, files = pd.MultiIndex.from_arrays([raw.column("_refresh").to_numpy(), raw.column("_file").to_numpy()]).factorize()
    for number, (refresh, name) in sorted(enumerate(files), key=lambda file: file[1]):
        if unlisted[numbers == number].all():
            raise DeliveryError(
                "the consent register has no entry for the organisation that sent this file",
                remedy="Add the organisation to the register, with or without consent, or remove the file.",
                partner=source.name,
                refresh=refresh,
                file=name,
            )
    derived.break_rule("unknown-organisation", source.cases.having("case_id")[0].name, unlisted)
    agreed = listed - {*entries[0][whole & refused]}
    willing, unwilling = ({*zip(*(part[~whole & said] for part in entries), strict=True)} for said in (~refused, refused))
    _exclude(excluded, "organisation-without-consent", ~unlisted & ~_among([member], {(name,) for name in agreed}))
    _exclude(excluded, "individual-without-consent", ~unlisted & ~_among(parts, willing - unwilling))
    silent = len(agreed - {*member})
    return [f"{source.name}: {silent} consenting organisations sent no rows"] if silent else []


def _repeats(keys: Texts, derived: Derived, remaining: Mask) -> Mask:
    """Rows, among the remaining, that repeat a case of which a more complete or an earlier row remains."""
    filled = np.sum([pd.notna(values) for values in derived.values.values()], axis=0)
    order = pd.DataFrame({"key": keys, "filled": -filled, "row": np.arange(len(keys))}).loc[remaining]
    order = order.sort_values(["key", "filled", "row"])
    repeats = np.zeros(len(keys), bool)
    repeats[order["row"][order["key"].duplicated()]] = True
    return repeats
