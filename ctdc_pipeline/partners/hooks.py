"""Read files that a layout cannot describe.

A layout names one of these functions as its ``reader``. A layout can only name a function of this list; it cannot contain code.
"""

from __future__ import annotations

import csv
from collections.abc import Callable

import pyarrow as pa

from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.reading import InputFile, text_cells

Reader = Callable[[bytes, Layout, InputFile], tuple[list[str], pa.Table]]

MAX_TITLE_LINES = 50
"""Headings are looked for in this many lines."""


def below_a_title(raw: bytes, layout: Layout, input_file: InputFile) -> tuple[list[str], pa.Table]:
    """Read a delimited text whose headings follow some title lines.

    Args:
        raw: The bytes of the file.
        layout: The layout; its required headings identify the line of headings.
        input_file: The name of the file, for messages.

    Returns:
        The headings, and the cells as ``text_cells`` returns them. Rows count from 1 below the headings.

    Raises:
        DeliveryError: If the file is not as the layout requires.
    """
    needed = {field.name for field in layout.fields if field.required}
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n", MAX_TITLE_LINES)
    for number, line in enumerate(lines[:MAX_TITLE_LINES]):
        try:
            cells = next(csv.reader([line.decode("utf-8", "replace").strip("\r")], delimiter=layout.delimiter), [])
        except csv.Error:
            continue
        if needed <= {cell.strip() for cell in cells}:
            return text_cells(b"\n".join(lines[number:]), layout, input_file)
    return text_cells(raw, layout, input_file)


READERS: dict[str, Reader] = {"below-a-title": below_a_title}
