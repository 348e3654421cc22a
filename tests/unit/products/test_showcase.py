"""The showcase: that the page holds the released records and counts, all of them or as many as it says."""

import json
import re
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.aggregates import reportable_aggregates
from ctdc_pipeline.counting.combinations import count_combinations
from ctdc_pipeline.products import showcase, story_tables
from ctdc_pipeline.products.inputs import Inputs
from tests.support.products import table

Row = dict[str, str]


def held(text: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return found[1]


def numbers(content: bytes) -> list[int]:
    """LEB128, read the slow way."""
    read, value, shift = [], 0, 0
    for byte in content:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            read.append(value)
            value = shift = 0
    return read


def counts(text: str, said: dict[str, Any], data: dict[str, Any]) -> dict[frozenset[tuple[str, str]], int]:
    """The combinations of one length that a page holds."""
    names = {
        variable["first"] + place: (variable["name"], value)
        for variable in data["variables"]
        for place, value in enumerate(variable["values"])
    }
    read = numbers(zlib.decompress(b64decode(held(text, f"counts-{said['length']}"))))
    keys, found = np.cumsum(read[: said["rows"]]).tolist(), read[said["rows"] :]
    assert len(keys) == len(found)
    result = {}
    for key, count in zip(keys, found, strict=True):
        parts = []
        for _ in range(said["length"]):
            key, number = divmod(key, data["attributes"])
            parts.append(names[number])
        result[frozenset(parts)] = count * data["k"]
    return result


def released(aggregates: pa.Table, length: int) -> dict[frozenset[tuple[str, str]], int]:
    return {
        frozenset((row[f"variable_{place}"], row[f"value_{place}"]) for place in range(1, length + 1)): row["count"]
        for row in aggregates.to_pylist()
        if row["length"] == length
    }


def records(text: str, data: dict[str, Any]) -> list[Row]:
    """The records that a page holds."""
    content, at = zlib.decompress(b64decode(held(text, "records"))), 0
    rows: list[Row] = [{} for _ in range(data["rows"])]
    for variable in data["variables"]:
        if variable["kind"] == "flag":
            size = -(-data["rows"] // 32) * 4
            codes = np.unpackbits(np.frombuffer(content, "u1", size, at), bitorder="little")[: data["rows"]]
        else:
            width = 1 if len(variable["values"]) < 256 else 2
            size = width * data["rows"]
            codes = np.frombuffer(content, f"<u{width}", data["rows"], at)
        at += size
        for row, code in zip(rows, codes.tolist(), strict=True):
            if code:
                row[variable["name"]] = variable["values"][code - 1]
    assert at == len(content)
    return rows


def people(number: int, seed: int = 1) -> list[Row]:
    """Random records with values of the codebook."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(number):
        row = {"gender": str(rng.choice(["Female", "Male"])), "citizenship": str(rng.choice(["UKR", "MDA", "SGP", "GLP"]))}
        row |= {name: "1" for name in codebook().names if name.startswith(("is", "meansOfControl")) and rng.random() < 0.3}
        rows.append(row)
    return rows


@pytest.fixture
def three(tmp_path: Path) -> tuple[pa.Table, pa.Table]:
    """1,000 records and their reportable combinations up to three attributes."""
    victims = table(people(1000))
    count_combinations(victims, tmp_path, length=3)
    return victims, reportable_aggregates(tmp_path, k=10, length=3)


def render(synthetic: pa.Table, aggregates: pa.Table, **changes: Any) -> tuple[str, dict[str, Any]]:
    settings: dict[str, Any] = {"version": "1", "k": 10, "length": 3, "last_year": 2021, **changes}
    text = showcase.render(synthetic, aggregates, **settings).decode()
    return text, json.loads(held(text, "data"))


def test_the_page_holds_every_record_and_every_reportable_count(three: tuple[pa.Table, pa.Table]) -> None:
    """A record or count that is lost or changed on its way into the page would be compared all the same."""
    text, data = render(*three)
    assert sorted(map(str, records(text, data))) == sorted(
        str({name: value for name, value in row.items() if value}) for row in three[0].to_pylist()
    )
    assert [said["length"] for said in data["embedded"]] == [1, 2, 3]
    for said in data["embedded"]:
        assert counts(text, said, data) == released(three[1], said["length"])
        assert said == {"length": said["length"], "rows": said["of"], "of": said["of"], "least": 10}


def test_where_room_is_short_the_longest_and_rarest_are_left_out_and_the_page_says_so(three: tuple[pa.Table, pa.Table]) -> None:
    """Otherwise what is only not embedded would be shown as below k."""
    whole, data = render(*three)
    block = len(held(whole, "counts-3"))
    text, data = render(*three, most_bytes=len(whole) - block // 2 + 3000)
    last = data["embedded"][-1]
    assert last["length"] == 3
    assert 0 < last["rows"] < last["of"]
    assert last["least"] > 10
    assert counts(text, last, data) == {key: count for key, count in released(three[1], 3).items() if count >= last["least"]}
    least = len(render(*three, most_bytes=0)[0].encode())
    _, data = render(*three, most_bytes=least + 3000 + len(held(whole, "counts-1")))
    assert [said["length"] for said in data["embedded"]] == [1]


@pytest.mark.parametrize("room", [10, 500, 5000])
def test_a_page_is_never_larger_than_it_may_be(room: int, three: tuple[pa.Table, pa.Table]) -> None:
    """Ten megabytes are promised, whatever the aggregates."""
    least = len(render(*three, most_bytes=0)[0].encode())
    text, _ = render(*three, most_bytes=least + 3000 + room)
    assert len(text.encode()) <= least + 3000 + room


def test_a_release_without_records_or_counts_still_has_a_page(empty: Inputs, tmp_path: Path) -> None:
    """Where nothing is common there is nothing to see, but the page must open and say so."""
    showcase.write(replace(empty, aggregates=empty.aggregates.slice(0, 0)), tmp_path / "new")
    text = (tmp_path / "new" / "showcase.html").read_text("utf-8")
    data = json.loads(held(text, "data"))
    assert data["rows"] == 0
    assert records(text, data) == []


def test_the_page_does_not_depend_on_the_order_of_rows(three: tuple[pa.Table, pa.Table]) -> None:
    """Same content, same bytes."""
    synthetic, aggregates = three
    backwards = synthetic.take(list(range(len(synthetic)))[::-1])
    assert render(synthetic, aggregates) == render(backwards, aggregates)


def test_more_values_than_a_byte_holds(three: tuple[pa.Table, pa.Table]) -> None:
    """The 256th country would otherwise become a missing value, and the next one the first."""
    odd = table([{"citizenship": f"{number:03d}"} for number in range(300)] * 2)
    text, data = render(odd, three[1].slice(0, 0))
    assert sorted(row["citizenship"] for row in records(text, data)) == sorted(odd["citizenship"].to_pylist())


@pytest.mark.parametrize("value", ['a"b', "a,b", "a\nb", "=1+1", "Côte d’Ivoire 日本", "</script>"])
def test_odd_values_arrive_as_they_are(value: str, three: tuple[pa.Table, pa.Table]) -> None:
    """Quotes, commas, line breaks and tags are part of a value."""
    text, data = render(table([{"citizenship": value}] * 20), three[1].slice(0, 0))
    assert records(text, data) == [{"citizenship": value}] * 20


def test_the_page_tells_nothing_that_is_not_in_records_and_aggregates_and_tables(inputs: Inputs, tmp_path: Path) -> None:
    """It is made without the complete records but for the denominators of the published tables."""
    showcase.write(inputs, tmp_path)
    data = json.loads(held((tmp_path / "showcase.html").read_text(), "data"))
    known = {row["variable"]: row["count"] for row in story_tables.known(inputs.victims, k=inputs.k).to_pylist()}
    assert {name: count for name, count in data["known"][""].items() if name != "all"} == known
    nothing = {**data["known"], "": {}}
    told = {
        f"{story.by[0]}={row[story.by[0]]}": 0
        for story in story_tables.STORIES
        if story.by
        for row in story_tables.table(inputs.victims, story, k=inputs.k).to_pylist()
    }
    assert nothing.keys() - {""} == told.keys()
    again = showcase.render(
        inputs.synthetic,
        inputs.aggregates,
        version=inputs.version,
        k=inputs.k,
        length=inputs.length,
        last_year=inputs.last_year,
        known_people=data["known"],
        citation=inputs.citation,
    )
    assert (tmp_path / "showcase.html").read_bytes() == again
