"""Where the records of a delimited text (CSV, TSV) begin and end, by its quotes alone, before anybody parses its cells.

Arrow parses fast and takes what it gets: a stray quote can make one row of two people. So the quotes are checked first, strictly,
and the records are counted; whoever parses the text compares that number with its own.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 20
_LF, _CR, _QUOTE = b'\n\r"'
_FIRST = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+(?:\r\n?|\n)?')
_LINE_END = re.compile(rb"\r\n?|\n")
STRAY = "a quote stands within a cell"
UNPAIRED = "the quotes are not in pairs, so a quoted cell is never closed"
DOUBTFUL = "two quotes may make one row of several"
REMEDY = "Remove the quote, or write it twice in a cell within quotes."
REMEDY_DOUBTFUL = "Remove the two quotes if they are stray; if not, put every cell of the row in quotes."


@dataclass(frozen=True)
class Fault:
    """What is wrong with the quotes of a text; ``row`` counts records from 1 below the headings, 0 is the row of headings."""

    row: int
    message: str
    remedy: str


@dataclass(frozen=True)
class Scan:
    """What the quotes of a text say: the bytes of its first record, how many records follow that are not blank, how many
    lines, blank ones as well. ``quoted`` says whether there are quotes at all; with a ``fault`` the numbers mean nothing."""

    heading: int
    records: int
    lines: int
    quoted: bool
    fault: Fault | None = None


def scan(text: bytes | mmap.mmap, *, delimiter: str, begin: int = 0) -> Scan:
    """Look through ``text`` from byte ``begin`` on. A line ends with CR, LF or both, unless it is within quotes.

    A quote opens a cell, closes it, or is doubled within one; any other is a fault. So is a pair of quotes alone in its row, with
    line breaks between them where every line has as many cells as the headings: if stray, they join several rows.
    """
    separator = ord(delimiter)
    quotes = records = lines = 0
    record_start, heading = begin, heading_size(text, begin=begin)
    width = _cells(text[begin : begin + heading], separator)
    for start in range(begin, len(text), _BLOCK):
        stop = min(start + _BLOCK, len(text))
        # One byte before and one after: what is outside the text is like a line end.
        data = np.frombuffer(
            (text[start - 1 : start] if start > begin else b"\n") + text[start:stop] + (text[stop : stop + 1] or b"\n"),
            np.uint8,
        )
        before, now, after = data[:-2], data[1:-1], data[2:]
        ends = (data == _LF) | (data == _CR)
        marks = np.flatnonzero(now == _QUOTE)
        opening = (np.arange(len(marks)) + quotes) % 2 == 0

        def outside(places: NDArray[np.intp], marks: NDArray[np.intp] = marks, quotes: int = quotes) -> NDArray[np.intp]:
            return places[(np.searchsorted(marks, places) + quotes) % 2 == 0] if quotes or len(marks) else places

        line_starts = outside(np.flatnonzero((before == _LF) | ((before == _CR) & (now != _LF))))
        starts = outside(np.flatnonzero(ends[:-2] & ~ends[1:-1]))
        if len(marks) or quotes % 2:
            beside = np.where(opening, before[marks], after[marks])
            stray = marks[(beside != separator) & (beside != _LF) & (beside != _CR) & (beside != _QUOTE)]
            if len(stray):
                row = records + int(np.searchsorted(starts, stray[0], side="right")) - 1
                return Scan(heading, 0, 0, True, Fault(row, STRAY, REMEDY))
            # Records that hold a line end within quotes, by where they begin.
            inner = np.flatnonzero(ends[1:-1])
            inner = inner[(np.searchsorted(marks, inner) + quotes) % 2 == 1]
            for index in np.unique(np.searchsorted(starts, inner, side="right")).tolist():
                at = start + int(starts[index - 1]) if index else record_start
                if at > begin and _doubtful(text, at, separator, width):
                    return Scan(heading, 0, 0, True, Fault(records + index - 1, DOUBTFUL, REMEDY_DOUBTFUL))
        if len(starts):
            record_start = start + int(starts[-1])
        quotes, records, lines = quotes + len(marks), records + len(starts), lines + len(line_starts)
    fault = Fault(max(records - 1, 0), UNPAIRED, REMEDY) if quotes % 2 else None
    return Scan(heading, max(records - 1, 0), max(lines - 1, 0), quotes > 0, fault)


def heading_size(text: bytes | mmap.mmap, *, begin: int = 0) -> int:
    """How many bytes the first record has, with its line end; of one that is never closed, up to its last quote."""
    first = _FIRST.match(text, begin)
    return first.end() - begin if first else 0


def _cells(record: bytes, separator: int) -> int:
    """How many cells a record has whose quotes are in order."""
    return 1 + sum(part.count(separator) for part in record.split(b'"')[::2])


def _doubtful(text: bytes | mmap.mmap, start: int, separator: int, width: int) -> bool:
    """Whether the record at ``start``, which goes over several lines, is as many whole rows if its quotes are stray."""
    quotes, lines = 0, 0
    while start < len(text):
        end = _LINE_END.search(text, start)
        line = text[start : end.start() if end else len(text)]
        quotes, lines = quotes + line.count(b'"'), lines + 1
        if quotes > 2 or line.count(separator) + 1 != width:
            return False
        if quotes == 2:
            return width > 1 and lines > 1
        start = end.end() if end else len(text)
    return False
