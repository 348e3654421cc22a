"""Decide which rows are admitted.

Rows are excluded because of opt-outs, consent, status, the first day of reports, and duplicates. A row that is excluded here is
excluded whatever its values are. ``derivation`` reports the rows that break a rule of the codebook.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.errors import DeliveryError
from ctdc_pipeline.harmonisation.case_identity import identities, pseudonyms
from ctdc_pipeline.harmonisation.cells import Mask, Texts, coded, parse_days, texts
from ctdc_pipeline.harmonisation.derivation import RULES, Derived, caseless, unusable_cells
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
"""Rules that exclude a row, in the order in which they are tried, and what each means."""


MIN_STRANGERS = 3
"""An opt-out list with this many people, none of whom matches any case ever delivered, is rejected: it probably uses other
identifiers.
"""


@dataclass(frozen=True)
class Admission:
    """The outcome of each row: accepted, quarantined, or excluded by a rule."""

    case_keys: Texts
    accepted: Mask
    quarantined: Mask
    excluded: Texts
    warnings: tuple[str, ...]


def admit(
    derived: Derived,
    *,
    source: Source,
    tables: Mapping[str, pa.Table],
    key: bytes,
    lookalikes: Collection[tuple[str, ...]] = (),
) -> Admission:
    """Decide on every row of a source.

    Args:
        derived: The variables of the rows. Look-alike identities, organisations that the consent register does not know, and
            cases that a list names in other upper and lower case are added to its broken rules.
        source: The source, in the layout of the rows.
        tables: The cases and the lists of the source, by table name.
        key: The key of the pseudonyms.
        lookalikes: Identities that current rows write in more than one way.

    Raises:
        DeliveryError: If a list cannot be relied on.
    """
    raw, layout = tables[source.name], source.cases
    parts = identities(raw, layout=layout)
    derived.break_rule("look-alike-identity", layout.having("case_id")[-1].name, _among(parts, lookalikes))
    excluded = np.full(raw.num_rows, None, object)
    warnings: list[str] = []
    if source.opt_outs:
        _opt_out(excluded, parts, tables[f"{source.name}_opt_outs"], source, source.opt_outs, derived)
    if source.consents:
        warnings += _consent(excluded, parts, tables[f"{source.name}_consents"], source, source.consents, raw, derived)
    for field in layout.having("status"):
        meaning, _ = coded(raw, field=field, layout=layout)
        _exclude(excluded, meaning, pd.notna(meaning))
    if source.reported_from:
        days, _ = parse_days(raw, field=layout.having("registered")[0], layout=layout)
        _exclude(excluded, "reported-too-early", days < np.datetime64(source.reported_from, "D"))
    # A row with a blank identity cannot be matched against any list, so the blank identity is its only reason for quarantine.
    excluded[np.logical_or.reduce([part == "" for part in parts])] = None
    quarantined = derived.quarantined & pd.isna(excluded)
    keys = pseudonyms(parts, source=source.name, key=key)
    remaining = ~quarantined & pd.isna(excluded)
    _exclude(excluded, "duplicate-case", _repeats(keys, derived, remaining))
    return Admission(keys, ~quarantined & pd.isna(excluded), quarantined, excluded, tuple(warnings))


def unmatched(source: Source, *, layout: Layout, opt_outs: pa.Table, people: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Warn about opt-outs that match no case.

    Args:
        source: The source.
        layout: The layout of the opt-out list.
        opt_outs: All opt-outs, with ``_refresh`` and ``_file``.
        people: The identities of all cases ever delivered.

    Returns:
        One warning if some opt-outs match nobody, else ().

    Raises:
        DeliveryError: If no entry of a list with at least ``MIN_STRANGERS`` people, or of all lists together, matches anybody:
            the list and the cases then use different numbers.
    """
    entries = _entries(opt_outs, source, layout)
    names = [*zip(*entries, strict=True)]
    people_caseless = {tuple(map(str.casefold, row)) for row in people}
    is_known = _among(caseless(entries), people_caseless | {(*row[:-1], "") for row in people_caseless})
    unmatched_names = {name for name, known in zip(names, is_known, strict=True) if not known}
    lists: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for refresh, file, name in zip(*(opt_outs.column(c).to_pylist() for c in ("_refresh", "_file")), names, strict=True):
        lists.setdefault((refresh, file), set()).add(name)
    for (refresh, file), list_names in sorted(lists.items()):
        if list_names <= unmatched_names and (len(list_names) >= MIN_STRANGERS or not is_known.any()):
            raise DeliveryError(
                "the opt-out list matches no case of the export",
                remedy="Check that both use the same numbers; publishing would include people who asked to be left out.",
                partner=source.name,
                refresh=refresh,
                file=file,
            )
    if not unmatched_names:
        return ()
    return (f"{source.name}: {len(unmatched_names)} of {len({*names})} opt-outs match no case of the export",)


def _exclude(excluded: Texts, rule: str | Texts, mask: Mask) -> None:
    """Exclude the rows in ``mask`` that no earlier rule has excluded."""
    not_yet_excluded = mask & pd.isna(excluded)
    excluded[not_yet_excluded] = rule[not_yet_excluded] if isinstance(rule, np.ndarray) else rule


def _among(parts: Sequence[Texts], names: Collection[tuple[str, ...]]) -> Mask:
    """Return which rows have one of the identities ``names``."""
    return np.fromiter((row in names for row in zip(*parts, strict=True)), bool, len(parts[0]))


def _entries(table: pa.Table, source: Source, layout: Layout) -> list[Texts]:
    """Return the identities that a list names.

    Refuses entries without a name, or with a formula or an error as name.
    """
    parts = identities(table, layout=layout)
    for field in layout.having("case_id"):
        for rule, mask in unusable_cells(table.column(field.name)):
            _refuse_entry(mask, RULES[rule], table, source, field)
    _refuse_entry(parts[0] == "", "the entry names nobody", table, source, layout.having("case_id")[0])
    return parts


def _refuse_entry(mask: Mask, message: str, table: pa.Table, source: Source, field: Field) -> None:
    """Refuse the delivery because of the first list entry in ``mask``."""
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


def _differs_in_case(parts: list[Texts], names: Collection[tuple[str, ...]]) -> Mask:
    """Return which identities would be among ``names`` if case did not matter, but are not."""
    return _among(caseless(parts), {tuple(map(str.casefold, name)) for name in names}) & ~_among(parts, names)


def _opt_out(excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout, derived: Derived) -> None:
    opted_out = {*zip(*_entries(table, source, layout), strict=True)}
    groups = [*parts[:-1], np.full(len(parts[-1]), "", object)]
    _exclude(excluded, "opted-out", _among(parts, opted_out) | _among(groups, opted_out))
    possibly_meant = _differs_in_case(parts, opted_out) | _differs_in_case(groups, opted_out)
    # Exact matches are excluded; rows that might be meant as well are quarantined until the partner answers.
    derived.break_rule("look-alike-identity", source.cases.having("case_id")[-1].name, possibly_meant)


def _consent(
    excluded: Texts, parts: list[Texts], table: pa.Table, source: Source, layout: Layout, raw: pa.Table, derived: Derived
) -> list[str]:
    entries = _entries(table, source, layout)
    (status,) = layout.having("status")
    refusal, unknown = coded(table, field=status, layout=layout)
    undecided = unknown | (texts(table, field=status, layout=layout) == "")
    _refuse_entry(undecided, "the entry does not say whether consent was given", table, source, status)
    is_organisation = entries[-1] == ""  # An entry without a person is the consent of the organisation.
    refused = pd.notna(refusal)
    listed_organisations = {*entries[0][is_organisation]}
    organisation = parts[0]
    not_listed = np.array([name != "" and name not in listed_organisations for name in organisation], bool)
    numbers, files = pd.MultiIndex.from_arrays([raw.column("_refresh").to_numpy(), raw.column("_file").to_numpy()]).factorize()
    for number, (refresh, name) in sorted(enumerate(files), key=lambda file: file[1]):
        if not_listed[numbers == number].all():
            raise DeliveryError(
                "the consent register has no entry for the organisation that sent this file",
                remedy="Add the organisation to the register, with or without consent, or remove the file.",
                partner=source.name,
                refresh=refresh,
                file=name,
            )
    derived.break_rule("unknown-organisation", source.cases.having("case_id")[0].name, not_listed)
    agreed = listed_organisations - {*entries[0][is_organisation & refused]}
    consenting, refusing = (
        {*zip(*(part[~is_organisation & wanted] for part in entries), strict=True)} for wanted in (~refused, refused)
    )
    _exclude(excluded, "organisation-without-consent", ~not_listed & ~_among([organisation], {(name,) for name in agreed}))
    derived.break_rule(
        "look-alike-identity",
        source.cases.having("case_id")[0].name,
        _differs_in_case([organisation], {(name,) for name in entries[0][is_organisation & refused]}),
    )
    possibly_meant = _differs_in_case(parts, consenting) | _differs_in_case(parts, refusing)
    derived.break_rule("look-alike-identity", source.cases.having("case_id")[-1].name, possibly_meant)
    _exclude(excluded, "individual-without-consent", ~not_listed & ~possibly_meant & ~_among(parts, consenting - refusing))
    organisations_without_rows = len(agreed - {*organisation})
    return (
        [f"{source.name}: {organisations_without_rows} consenting organisations sent no rows"]
        if organisations_without_rows
        else []
    )


def _repeats(keys: Texts, derived: Derived, remaining: Mask) -> Mask:
    """Return the remaining rows that repeat a case.

    The most complete row of a case, or the first of equals, is not one of them.
    """
    filled = np.sum([pd.notna(values) for values in derived.values.values()], axis=0)
    order = pd.DataFrame({"key": keys, "filled": -filled, "row": np.arange(len(keys))}).loc[remaining]
    order = order.sort_values(["key", "filled", "row"])
    repeats = np.zeros(len(keys), bool)
    repeats[order["row"][order["key"].duplicated()]] = True
    return repeats
