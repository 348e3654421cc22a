"""Compute the current state of a source.

It consists of the latest version of each case, and of the lists that apply to its people. A snapshot replaces everything that
was delivered before it. An increment adds cases and replaces the cases that it contains again, even if the new version has
errors. Two identities that differ only in characters that look the same may belong to one person or to two, so neither replaces
the other, and the rows of both are quarantined (``Current.lookalikes``). Opt-outs apply whenever they were sent, so they also
remove cases of earlier and later deliveries. For consents the latest entry counts, starting with the register that was sent
with the last snapshot. Replaced rows are excluded as ``superseded``, before anything is derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.errors import TableError
from ctdc_pipeline.harmonisation.case_identity import identities, written_identities
from ctdc_pipeline.harmonisation.cells import Mask, coded
from ctdc_pipeline.ingestion.accepted_layouts import as_sent, in_any_layout
from ctdc_pipeline.ingestion.delivery_store import Delivery
from ctdc_pipeline.ingestion.ingested import ingest, require_ingested
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.storage.files import parquet_rows, read_parquet


@dataclass(frozen=True)
class Group:
    """Current cases that came in one layout, and the lists that apply to the source.

    The layout is ``source.cases``.
    """

    source: Source
    tables: dict[str, pa.Table]


@dataclass(frozen=True)
class Current:
    """The current state of one source.

    ``groups`` are the current cases by layout, ``lists`` the opt-outs and consents, ``superseded`` the positions of the
    replaced rows. Tables are as ``ingest`` writes them, under the same names, with the refresh of each row in ``_refresh``.

    ``people`` are the identities of everybody who ever was a case, if the source has an opt-out list. ``lookalikes`` are
    identities that current rows write in more than one way; ``letter_cases`` is the number of identities that, compared without
    upper and lower case, belong to more than one person. Identities are as ``case_identity.identities`` returns them. ``rows``
    counts the case rows of each refresh.
    """

    groups: tuple[Group, ...]
    lists: dict[str, pa.Table]
    superseded: pa.Table
    people: frozenset[tuple[str, ...]]
    lookalikes: frozenset[tuple[str, ...]]
    letter_cases: int
    rows: dict[str, int]


def current(source: Source, deliveries: Sequence[Delivery], *, ingested: Path, held: Sequence[Delivery] = ()) -> Current:
    """Return the current state of ``source``.

    Args:
        source: The source.
        deliveries: The deliveries that count, in the order of their periods.
        ingested: The folder of the ingested tables, with one folder for each refresh.
        held: Deliveries that are held back. Only their opt-outs and refused consents apply, and only in ``groups``.

    Raises:
        TableError: If one of ``deliveries`` was not ingested.
        DeliveryError: If a delivery in ``held`` cannot be read any more.
    """
    tables = [_IngestedDelivery(source, delivery, ingested) for delivery in deliveries]
    base = max((number for number, delivery in enumerate(deliveries) if delivery.kind == "snapshot"), default=0)
    replaced = [np.zeros(delivery.rows, bool) for delivery in tables[:base]]
    current_rows = replaced + _latest([delivery.identities(written=True) for delivery in tables[base:]])
    lists: dict[str, pa.Table] = {}
    if source.opt_outs and tables:
        name = f"{source.name}_opt_outs"
        lists[name] = pa.concat_tables([delivery.table(name) for delivery in tables])
    if source.consents and tables:
        name = f"{source.name}_consents"
        registers = [delivery.table(name) for delivery in tables[base:]]
        # Compared as written: a refusal is not replaced by the consent of a person whose number only looks the same.
        latest_entries = _latest([_frame(register, source.consents, written=True) for register in registers], named_by=1)
        lists[name] = pa.concat_tables(
            [register.filter(entries) for register, entries in zip(registers, latest_entries, strict=True)]
        )
    lists_with_held = _with_held(lists, source, held)
    groups: dict[str, list[pa.Table]] = {}
    for delivery, mask in zip(tables, current_rows, strict=True):
        if mask.any():
            groups.setdefault(delivery.sent.cases.title, []).append(delivery.table(source.name).filter(mask))
    compared, written = (
        [delivery.identities(written=way).loc[mask] for delivery, mask in zip(tables, current_rows, strict=True)]
        for way in (False, True)
    )
    return Current(
        groups=tuple(
            Group(in_any_layout(source)[title], {source.name: pa.concat_tables(parts), **lists_with_held})
            for title, parts in sorted(groups.items())
        ),
        lists=lists,
        superseded=pa.concat_tables(
            [delivery.positions().filter(~mask) for delivery, mask in zip(tables, current_rows, strict=True)] or [_NO_POSITIONS]
        ),
        people=frozenset(row for delivery in tables for row in delivery.identities().itertuples(index=False, name=None))
        if source.opt_outs
        else frozenset(),
        lookalikes=_ambiguous(compared, written),
        letter_cases=len(_ambiguous([frame.map(str.casefold) for frame in compared], compared)),
        rows={delivery.delivery.refresh.label: delivery.rows for delivery in tables},
    )


def _with_held(lists: dict[str, pa.Table], source: Source, held: Sequence[Delivery]) -> dict[str, pa.Table]:
    """Return ``lists`` with the opt-outs and refusals of the held deliveries added.

    Blank entries are skipped.
    """
    extended = dict(lists)
    for delivery in held if lists else ():
        tables = ingest(as_sent(source, delivery), delivery=delivery).tables
        for name, layout in source.layouts.items():
            if name not in lists:
                continue
            table = tables[name]
            must_be_out = identities(table, layout=layout)[0] != ""
            for field in layout.having("status"):
                must_be_out &= pd.notna(coded(table, field=field, layout=layout)[0])
            column = pa.array([delivery.refresh.label] * table.num_rows, pa.string())
            extended[name] = pa.concat_tables(
                [extended[name], table.add_column(0, "_refresh", column).filter(pa.array(must_be_out))]
            )
    return extended


_NO_POSITIONS = pa.table(
    {"_refresh": pa.array([], pa.string()), "_file": pa.array([], pa.string()), "_row": pa.array([], pa.int64())}
)


class _IngestedDelivery:
    """The tables of one delivery, each read when it is needed."""

    def __init__(self, source: Source, delivery: Delivery, ingested: Path) -> None:
        self.source, self.delivery, self.folder = source, delivery, ingested / delivery.refresh.label
        try:
            self.sent, content = require_ingested(source, folder=self.folder)
        except TableError as error:
            raise TableError(error.message, remedy=f"Ingest {source.name} for {delivery.refresh} again.") from None
        if content != delivery.content:
            raise TableError(
                f"{source.name}: the delivery {delivery.short} for {delivery.refresh} is not the one that was ingested",
                remedy=f"Ingest {source.name} for {delivery.refresh} again.",
            )
        self.rows = parquet_rows(self._path(source.name))

    def table(self, name: str) -> pa.Table:
        """Return one table, with the refresh of its rows."""
        return self._with_refresh(read_parquet(self._path(name)))

    def positions(self) -> pa.Table:
        """Return the position of each case row."""
        return self._with_refresh(read_parquet(self._path(self.source.name), columns=["_file", "_row"]))

    def identities(self, *, written: bool = False) -> pd.DataFrame:
        """Return the identity of each case row, in the compared form or as it was ``written``."""
        layout = self.sent.cases
        columns = [field.name for field in layout.having("case_id")]
        return _frame(read_parquet(self._path(self.source.name), columns=columns), layout, written=written)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def _with_refresh(self, table: pa.Table) -> pa.Table:
        return table.add_column(0, "_refresh", pa.array([self.delivery.refresh.label] * table.num_rows, pa.string()))


def _frame(table: pa.Table, layout: Layout, *, written: bool = False) -> pd.DataFrame:
    parts = written_identities(table, layout=layout) if written else identities(table, layout=layout)
    return pd.DataFrame(dict(enumerate(parts)), dtype=object)


def _ambiguous(names: Sequence[pd.DataFrame], spellings: Sequence[pd.DataFrame]) -> frozenset[tuple[str, ...]]:
    """Return the identities without a blank part that occur with more than one spelling.

    ``names`` and ``spellings`` correspond row by row.
    """
    if not names:
        return frozenset()
    all_names = pd.concat(names, ignore_index=True)
    pairs = all_names.join(pd.concat(spellings, ignore_index=True).add_prefix("written ")).drop_duplicates()
    distinct = pairs.loc[:, pairs.columns[: all_names.shape[1]]]
    repeated = distinct.loc[distinct.duplicated() & (distinct != "").all(axis=1)]
    return frozenset(map(tuple, repeated.to_numpy().tolist()))


def _latest(deliveries: Sequence[pd.DataFrame], *, named_by: int | None = None) -> list[Mask]:
    """Return, for each delivery, a mask of the identities that no later delivery contains.

    A row with a blank among its first ``named_by`` parts (all parts if None) identifies nobody, so nothing replaces it.
    """
    if len(deliveries) < 2:
        return [np.ones(len(frame), bool) for frame in deliveries]
    anonymous = np.concatenate([(frame.iloc[:, :named_by] == "").any(axis=1).to_numpy(bool) for frame in deliveries])
    identities_by_delivery = pd.concat(deliveries, ignore_index=True).fillna("")
    delivery_number = pd.Series(np.repeat(np.arange(len(deliveries)), [len(frame) for frame in deliveries]))
    last_number = delivery_number.groupby([identities_by_delivery[column] for column in identities_by_delivery]).transform("max")
    latest = (delivery_number == last_number).to_numpy() | anonymous
    return np.split(latest, np.cumsum([len(frame) for frame in deliveries])[:-1])
