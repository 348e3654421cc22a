"""Where records begin and end: as a slow strict reader finds them, and no stray quote passes."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctdc_pipeline.storage import delimited
from ctdc_pipeline.storage.delimited import scan


def strict(text: str) -> int | None:
    """Records below the headings that are not blank; None where a quote is stray. Character by character."""
    records, blank, quoted, closed, begins = 0, True, False, False, True
    for letter in text:
        if quoted and letter != '"':
            continue
        if quoted:
            quoted, closed = False, True
        elif letter == '"' and closed:
            quoted, closed = True, False
        elif letter == '"':
            if not begins:
                return None
            quoted, blank, begins = True, False, False
        elif letter in "\r\n":
            records, blank, closed, begins = records + (not blank), True, False, True
        elif letter == ",":
            blank, closed, begins = False, False, True
        else:
            if closed:
                return None
            blank, begins = False, False
    return None if quoted else max(records + (not blank) - 1, 0)


@given(text=st.text(st.sampled_from('ab,"\r\n'), max_size=25), block=st.integers(1, 7), mark=st.booleans())
@settings(max_examples=800, deadline=None)
def test_records_are_those_that_a_slow_reader_finds(text: str, block: int, mark: bool) -> None:
    """A row end missed or made up at the edge of a block, or a stray quote that passes."""
    raw = b"\xef\xbb\xbf" + text.encode() if mark else text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK", block)
        found = scan(raw, delimiter=",", begin=3 if mark else 0)
    whole = scan(text.encode(), delimiter=",")
    assert found == whole
    if found.fault and found.fault.message == delimited.DOUBTFUL:
        assert text.count('"') >= 2
    else:
        assert strict(text) == (None if found.fault else found.records)


@given(
    rows=st.lists(st.lists(st.text(st.sampled_from('ab,"\r\n'), max_size=4), min_size=2, max_size=2), min_size=2, max_size=5),
    ends=st.sampled_from(["\n", "\r\n"]),
)
@settings(deadline=None)
def test_what_a_strict_writer_writes_is_in_order(rows: list[list[str]], ends: str) -> None:
    """A well-formed file that is refused, or its records miscounted."""
    text = io.StringIO()
    csv.writer(text, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows(rows)
    raw = text.getvalue().encode()
    found = scan(raw, delimiter=",")
    assert found.fault is None
    assert found.records == found.lines == len(rows) - 1
    (heading,) = csv.reader(io.StringIO(raw[: found.heading].decode(), newline=""))
    assert heading == rows[0]


@pytest.mark.parametrize(
    "text",
    [
        'a,b,c\nx,"y,1\nz,w",2\n',
        'a,b,c\n"x,y,1\nz,w",2\n',
        'a,b,c\nx,"y,1\r\np,q,r\r\nz,w",2\r\n',
        'a,b,c\nx,y,"1\nz,w,2"\n',
    ],
)
def test_two_quotes_that_would_make_one_row_of_several_are_doubtful(text: str) -> None:
    """Two people joined by two inch marks."""
    found = scan(text.encode(), delimiter=",")
    assert found.fault == delimited.Fault(1, delimited.DOUBTFUL, delimited.REMEDY_DOUBTFUL)


@pytest.mark.parametrize(
    "text",
    ['a,b,c\nx,"told us,\nlater",2\n', 'a,b,c\n"x","y,1\nz,w","2"\n', 'a\n"p\nq"\n', 'a,b\nx,"p\nq"\n', 'a,"b\nb"\nx,y\n'],
)
def test_a_cell_of_several_lines_is_taken_where_it_can_be_nothing_else(text: str) -> None:
    """A narrative over several lines that is refused."""
    assert scan(text.encode(), delimiter=",").fault is None
