"""The current state of a source: of each case the latest version over all deliveries that count, and what holds for its people.

A snapshot replaces all that was delivered before it; an increment adds cases and replaces those it holds again, even where the
new version has errors. Opt-outs hold whenever they were sent, so they reach back to every case. Of consents the latest word
counts, from the last register that was sent with a snapshot on. Rows that were replaced are left out as ``superseded``, before
anything is derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.derivation import Mask, identities
from ctdc_pipeline.dialects import in_any_layout
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.files import parquet_rows, parquet_schema, read_parquet
from ctdc_pipeline.partners.layout import Layout, Source
from ctdc_pipeline.partners.reading import FILES, ingested_columns
from ctdc_pipeline.store import Delivery

PLACE = ("_refresh", "_file", "_row")


@dataclass(frozen=True)
class Group:
    """Current cases that came in one layout, which is that of ``source.cases``, and the lists that hold for the whole source."""

    source: Source
    tables: dict[str, pa.Table]


@dataclass(frozen=True)
class Current:
    """The current cases by layout, the lists, the places of the rows that were replaced, who ever was a case, and all rows.

    Tables are as ``ingest`` writes them, by the names it gives them, with the refresh of each row in ``_refresh``. ``people`` are
    identities, as ``derivation.identities`` gives them, of a source with an opt-out list. ``rows`` counts the case rows of each
    refresh.
    """

    groups: tuple[Group, ...]
    lists: dict[str, pa.Table]
    superseded: pa.Table
    people: frozenset[tuple[str, ...]]
    rows: dict[str, int]


def current(source: Source, deliveries: Sequence[Delivery], *, ingested: Path) -> Current:
    """The current state of ``source`` over ``deliveries``, in their order, each ingested to ``ingested``/<refresh>/.

    Raises TableError if one of them was not.
    """
    read = [_Ingested(source, delivery, ingested) for delivery in deliveries]
    base = max((number for number, one in enumerate(deliveries) if one.kind == "snapshot"), default=0)
    keep = [np.zeros(one.rows, bool) for one in read[:base]] + _latest([one.identities() for one in read[base:]])
    lists: dict[str, pa.Table] = {}
    if source.opt_outs and read:
        name = f"{source.name}_opt_outs"
        lists[name] = pa.concat_tables([one.table(name) for one in read])
    if source.consents and read:
        name = f"{source.name}_consents"
        registers = [one.table(name) for one in read[base:]]
        words = _latest([_frame(register, source.consents) for register in registers], named_by=1)
        lists[name] = pa.concat_tables([register.filter(word) for register, word in zip(registers, words, strict=True)])
    groups: dict[str, list[pa.Table]] = {}
    for one, mask in zip(read, keep, strict=True):
        if mask.any():
            groups.setdefault(one.sent.cases.title, []).append(one.table(source.name).filter(mask))
    return Current(
        groups=tuple(
            Group(in_any_layout(source)[title], {source.name: pa.concat_tables(parts), **lists})
            for title, parts in sorted(groups.items())
        ),
        lists=lists,
        superseded=pa.concat_tables([one.places().filter(~mask) for one, mask in zip(read, keep, strict=True)] or [_NOWHERE]),
        people=frozenset(row for one in read for row in one.identities().itertuples(index=False, name=None))
        if source.opt_outs
        else frozenset(),
        rows={delivery.refresh.label: one.rows for delivery, one in zip(deliveries, read, strict=True)},
    )


_NOWHERE = pa.table({"_refresh": pa.array([], pa.string()), "_file": pa.array([], pa.string()), "_row": pa.array([], pa.int64())})


class _Ingested:
    """The tables of one delivery, read as they are needed."""

    def __init__(self, source: Source, delivery: Delivery, ingested: Path) -> None:
        self.source, self.delivery, self.folder = source, delivery, ingested / delivery.refresh.label
        try:
            self.sent, content = sent_and_whole(source, folder=self.folder)
        except TableError as error:
            raise TableError(error.message, remedy=f"Ingest {source.name} for {delivery.refresh} again.") from None
        if content != delivery.content:
            raise TableError(
                f"{source.name}: the delivery {delivery.short} for {delivery.refresh} is not the one that was ingested",
                remedy=f"Ingest {source.name} for {delivery.refresh} again.",
            )
        self.rows = parquet_rows(self._path(source.name))

    def table(self, name: str) -> pa.Table:
        """One table, with the refresh of its rows."""
        return self._placed(read_parquet(self._path(name)))

    def places(self) -> pa.Table:
        """The place of each case row."""
        return self._placed(read_parquet(self._path(self.source.name), columns=["_file", "_row"]))

    def identities(self) -> pd.DataFrame:
        """The identity of each case row."""
        layout = self.sent.cases
        columns = [field.name for field in layout.having("case_id")]
        return _frame(read_parquet(self._path(self.source.name), columns=columns), layout)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def _placed(self, table: pa.Table) -> pa.Table:
        return table.add_column(0, "_refresh", pa.array([self.delivery.refresh.label] * table.num_rows, pa.string()))


def sent_and_whole(source: Source, *, folder: Path) -> tuple[Source, str]:
    """``source`` as the delivery whose tables are in ``folder`` was sent, and the content hash of that delivery.

    Raises TableError, naming the refresh and what is wrong, if the tables are not there, not whole or not of that layout.
    """
    place = f"{source.name}, {folder.name}"
    try:
        files = read_parquet(folder / f"{FILES}.parquet", columns=["table", "rows", "delivery", "layout"]).to_pandas()
        (title,), (content,) = {*files["layout"]}, {*files["delivery"]}
        sent = in_any_layout(source)[title]
        for name, layout in sent.layouts.items():
            schema, rows = parquet_schema(folder / f"{name}.parquet"), parquet_rows(folder / f"{name}.parquet")
            if not schema.equals(ingested_columns(layout)):
                _again(f"{place}: the columns of {name} are not those of its layout")
            if rows != files.loc[files["table"] == name, "rows"].sum():
                _again(f"{place}: the table {name} has {rows} rows, which is not what was read")
    except (OSError, pa.ArrowException, KeyError, ValueError):
        _again(f"{place} has not been ingested, or with a layout that is gone")
    return sent, content


def nonconforming(source: Source, *, ingested: Path) -> list[str]:
    """What is wrong with the tables of each refresh of ``source`` below ``ingested``: columns, rows, or rows without a place."""
    found: list[str] = []
    for folder in sorted(folder for folder in ingested.glob("[!.]*") if folder.is_dir()):
        try:
            sent, _ = sent_and_whole(source, folder=folder)
        except TableError as error:
            found.append(error.message)
            continue
        for name in sent.layouts:
            place = read_parquet(folder / f"{name}.parquet", columns=list(PLACE[1:])).to_pandas()
            if wrong := int((place.duplicated() | place.isna().any(axis=1) | (place["_row"] < 1)).sum()):
                found.append(f"{source.name}, {folder.name}: {wrong} rows of {name} have no place of their own")
    return found


def _again(message: str) -> NoReturn:
    raise TableError(message, remedy="Ingest it again.") from None


def _frame(table: pa.Table, layout: Layout) -> pd.DataFrame:
    return pd.DataFrame(dict(enumerate(identities(table, layout=layout))), dtype=object)


def _latest(deliveries: Sequence[pd.DataFrame], *, named_by: int | None = None) -> list[Mask]:
    """Of identities by delivery: which no later delivery holds again.

    A row of which one of the first ``named_by`` parts (without it, any part) is blank is nobody's: nothing replaces it.
    """
    if len(deliveries) < 2:
        return [np.ones(len(frame), bool) for frame in deliveries]
    anonymous = np.concatenate([(frame.iloc[:, :named_by] == "").any(axis=1).to_numpy(bool) for frame in deliveries])
    whole = pd.concat(deliveries, ignore_index=True).fillna("")
    number = pd.Series(np.repeat(np.arange(len(deliveries)), [len(frame) for frame in deliveries]))
    last = number.groupby([whole[column] for column in whole]).transform("max")
    latest = (number == last).to_numpy() | anonymous
    return np.split(latest, np.cumsum([len(frame) for frame in deliveries])[:-1])
