"""The data dictionary of the released variables, as CSV and as Markdown, and the reportable aggregates that use its names."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.products.inputs import Inputs, Released
from ctdc_pipeline.storage.files import staged
from ctdc_pipeline.storage.tables import write_table

DICTIONARY = "data_dictionary"
AGGREGATES = "reportable_aggregates"


def write(inputs: Inputs, folder: Path) -> None:
    """Write both. Raises OSError, ResourceError."""
    write_table(inputs.aggregates, folder / f"{AGGREGATES}.csv")
    write_dictionary(inputs, folder)


def write_dictionary(inputs: Released, folder: Path) -> None:
    """Write the dictionary alone. Raises OSError, ResourceError."""
    rows = [
        {
            "position": str(variable.position),
            "name": variable.name,
            "label": variable.label,
            "group": variable.group,
            "type": variable.kind,
            "values": " | ".join(variable.values),
            "definition": variable.definition,
            "aliases": " | ".join(variable.aliases),
        }
        for variable in codebook().variables
    ]
    write_table(pa.Table.from_pylist(rows), folder / f"{DICTIONARY}.csv")
    text = ["# Data dictionary", "", *([f"**{inputs.notice}**", ""] if inputs.invented else [])]
    text += ["An empty cell is a missing value. A flag is 1 or missing; missing does not mean that it did not happen.", ""]
    for row in rows:
        text += [f"## {row['position']}. {row['name']}", ""]
        text += [f"- {field}: {row[field].replace(' | ', ', ')}" for field in ("label", "group", "type")]
        text += [f"- {field}: {row[field].replace(' | ', ', ')}" for field in ("values", "aliases") if row[field]]
        text += ["", row["definition"], ""]
    with staged(folder / f"{DICTIONARY}.md") as part:
        part.write_text("\n".join(text), encoding="utf-8")
