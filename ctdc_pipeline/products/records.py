"""The Global Synthetic Dataset itself, in every format it is published in: the same records in the same order in each.

CSV, TSV and Parquet hold text, as the released table does. A workbook and a Stata file hold numbers where the codebook says that
a variable is one, and Stata names the categories, because their users expect it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.products.inputs import Released
from ctdc_pipeline.storage.files import staged, write_parquet
from ctdc_pipeline.storage.tables import LONGEST_NAME, as_text, write_table
from ctdc_pipeline.storage.workbook import MOST_ROWS, Cell, Sheet, write_workbook

NAME = "global_synthetic_dataset"
_LONGEST_LABEL = 80
_WRITTEN = datetime(2000, 1, 1)


def write(inputs: Released, folder: Path) -> None:
    """Write all formats to ``folder``. Raises OSError, ResourceError, TableError."""
    for suffix in (".csv", ".tsv"):
        write_table(inputs.synthetic, folder / f"{NAME}{suffix}")
    _write_parquet(inputs, folder / f"{NAME}.parquet")
    write_workbook(folder / f"{NAME}.xlsx", list(_sheets(inputs)), title=inputs.title)
    _write_stata(inputs, folder / f"{NAME}.dta")


def is_number(variable: Variable) -> bool:
    """Whether a variable is a number to who computes with it: years and flags are."""
    return variable.kind in ("year", "flag")


def stata_name(variable: Variable) -> str:
    """The variable's name, cut where Stata cuts it."""
    return variable.name[:LONGEST_NAME]


def _write_parquet(inputs: Released, path: Path) -> None:
    """Text columns; each says what it is in the metadata of its field, and the table which release it is."""
    fields = [
        pa.field(variable.name, pa.string(), metadata={"label": variable.label, "description": variable.definition})
        for variable in codebook().variables
    ]
    metadata = {
        "title": inputs.title,
        "codebook": codebook().version,
        **({"description": inputs.notice} if inputs.invented else {}),
    }
    write_parquet(as_text(inputs.synthetic).cast(pa.schema(fields, metadata=metadata)), path, private=False)


def _sheets(inputs: Released) -> Iterator[Sheet]:
    """The records as one sheet, or as several where they are more than a sheet can hold; their names tell of invented people."""
    most = MOST_ROWS - 1
    numbers = [is_number(variable) for variable in codebook().variables]

    def rows(part: pa.Table) -> Iterator[Sequence[Cell]]:
        yield part.column_names
        for batch in part.to_batches(max_chunksize=65_536):
            columns: list[Iterable[Cell]] = []
            for column, number in zip(batch.columns, numbers, strict=True):
                columns.append((column.cast(pa.int64()) if number else column).to_pylist())
            yield from zip(*columns, strict=True)

    plain, name = as_text(inputs.synthetic), "INVENTED DATA" if inputs.invented else "Data"
    parts = range(0, max(plain.num_rows, 1), most)
    for number, start in enumerate(parts, 1):
        yield Sheet(name if len(parts) == 1 else f"{name} {number}", rows(plain.slice(start, most)))


def _write_stata(inputs: Released, path: Path) -> None:
    """Years and flags as numbers, categories as labelled numbers in the order of the codebook, countries as text."""
    columns: dict[str, pd.Series] = {}
    labels: dict[Hashable, dict[float, str]] = {}
    for variable in codebook().variables:
        name = stata_name(variable)
        text = inputs.synthetic[variable.name].cast(pa.string()).to_pandas().astype("object")
        if variable.kind == "category":
            labels[name] = dict(enumerate(variable.values, 1))
            text = text.map({value: number for number, value in labels[name].items()})
        columns[name] = (
            text.where(text.notna(), "")
            if variable.kind == "country"
            else text.astype("Int16" if variable.kind == "year" else "Int8")
        )
    with staged(path) as part:
        pd.DataFrame(columns).to_stata(
            part,
            write_index=False,
            version=118,
            time_stamp=_WRITTEN,
            data_label=inputs.title[:_LONGEST_LABEL],
            variable_labels={stata_name(variable): variable.label[:_LONGEST_LABEL] for variable in codebook().variables},
            value_labels=labels,
        )
