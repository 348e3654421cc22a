"""Show what would happen to files before they are delivered.

They are read, derived and judged in memory, as the pipeline does it.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.harmonisation.case_identity import identities
from ctdc_pipeline.harmonisation.derivation import derive
from ctdc_pipeline.harmonisation.exclusions import admit, unmatched
from ctdc_pipeline.ingestion.ingested import ingested_columns
from ctdc_pipeline.partners.layout import Source
from ctdc_pipeline.partners.reading import InputFile, read

EXAMPLES = 5
"""How many rows, and how many values, are shown for each reason."""


@dataclass(frozen=True)
class Reason:
    """A reason for quarantine: rule and field, rows, and examples.

    ``places`` are the first rows as (file, row), ``values`` the most frequent cells.
    """

    field: str
    rule: str
    rows: int
    places: tuple[tuple[str, int], ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """Rows by outcome. ``filled`` counts, for each variable, the accepted rows with a value."""

    rows: int
    accepted: int
    quarantined: int
    excluded: dict[str, int]
    reasons: tuple[Reason, ...]
    filled: dict[str, int]
    kept_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def rehearse(source: Source, paths: Sequence[Path], *, as_of: date) -> Rehearsal:
    """Judge files as one delivery of ``source``, without writing anything.

    Args:
        source: The source, for example from a layout that is not installed yet.
        paths: The files of one delivery.
        as_of: The last day that the release covers.

    Raises:
        DeliveryError: If a file cannot be read.
        ParameterError: If a file that every delivery needs is missing.
    """
    parts: dict[str, list[pa.Table]] = {name: [] for name in source.layouts}
    kept_out: list[tuple[str, str]] = []
    for path in paths:
        names = [name for name, layout in source.layouts.items() if path.match(layout.file_pattern)]
        if not names:
            patterns = ", ".join(layout.file_pattern for layout in source.layouts.values())
            InputFile(source.name, path.name).refuse(
                "no file of this name is expected", f"Name it {patterns}, or change file_pattern."
            )
        table, unknown = read(path, layout=source.layouts[names[-1]], source=source.name)
        parts[names[-1]].append(table)
        kept_out += [(path.name, column) for column in unknown]
    warnings: list[str] = []
    for name, layout in source.layouts.items():
        if parts[name]:
            continue
        if layout is not source.opt_outs:
            raise ParameterError(f"no file {layout.file_pattern} is given", remedy=f"Give the {layout.title.lower()} as well.")
        warnings.append(f"no opt-out list is given ({layout.file_pattern}); a delivery needs one, even if it is empty")
        parts[name].append(ingested_columns(layout).empty_table())
    tables = {name: _with_refresh(pa.concat_tables(parts_of_list)) for name, parts_of_list in parts.items()}
    raw = tables[source.name]
    derived = derive(raw, source=source, as_of=as_of)
    admission = admit(derived, source=source, tables=tables, key=secrets.token_bytes(32))
    if source.opt_outs:
        people = {*zip(*identities(raw, layout=source.cases), strict=True)}
        warnings += unmatched(source, layout=source.opt_outs, opt_outs=tables[f"{source.name}_opt_outs"], people=people)
    reasons: list[Reason] = []
    for field, rule, mask in derived.broken:
        quarantined_rows = np.flatnonzero(mask & admission.quarantined)
        if len(quarantined_rows):
            positions = tuple(
                (raw.column("_file")[row].as_py(), raw.column("_row")[row].as_py())
                for row in quarantined_rows[:EXAMPLES].tolist()
            )
            values = Counter(str(cell) for cell in raw.column(field).take(pa.array(quarantined_rows)).to_pylist())
            reasons.append(
                Reason(field, rule, len(quarantined_rows), positions, tuple(value for value, _ in values.most_common(EXAMPLES)))
            )
    excluded = pd.Series(admission.excluded).dropna()
    return Rehearsal(
        rows=raw.num_rows,
        accepted=int(admission.accepted.sum()),
        quarantined=int(admission.quarantined.sum()),
        excluded={str(rule): int(rows) for rule, rows in excluded.value_counts().items()},
        reasons=tuple(sorted(reasons, key=lambda reason: -reason.rows)),
        filled={name: int(pd.notna(values[admission.accepted]).sum()) for name, values in derived.values.items()},
        kept_out=tuple(kept_out),
        warnings=(*warnings, *admission.warnings),
    )


def _with_refresh(table: pa.Table) -> pa.Table:
    return table.append_column("_refresh", pa.array(["rehearsal"] * table.num_rows, pa.string()))
