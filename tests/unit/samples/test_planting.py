"""Test that each defect is in a row of its own."""

import numpy as np
import pandas as pd

from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples.planting import Planting


def planting(rows: int) -> Planting:
    layout = SOURCES["iom_legacy"].cases
    table = pd.DataFrame({field.name: ["1"] * rows for field in layout.fields}, dtype=object)
    return Planting(np.random.Generator(np.random.PCG64(1)), SOURCES["iom_legacy"], table)


def test_no_row_is_taken_twice() -> None:
    """Guards against two defects in one row, where one rule would hide the other from the account."""
    made = planting(1_000)
    made.already("first", np.arange(1_000) < 100)
    taken = [*made.take("second", 100), *made.take("third", 200), *made.take("fourth", 50, np.arange(1_000) > 900)]
    assert len(set(taken)) == len(taken) == 350
    assert min(taken) >= 100
    assert dict(made.planted) == {"first": 100, "second": 100, "third": 200, "fourth": 50}


def test_half_of_the_rows_stay_sound() -> None:
    """Guards against a small sample of nothing but defects."""
    made = planting(20)
    for kind in range(40):
        made.take(str(kind), 1)
    assert sum(made.planted.values()) == 10


def test_only_the_chosen_rows_change() -> None:
    """Guards against a defect that spills into neighbours or into the table it was copied from."""
    made = planting(500)
    made.mark("unknown-code", 20, made.source.cases.having("gender"), "X9")
    changed = (made.table != "1").any(axis=1)
    assert changed.sum() == made.planted["unknown-code"] == 10
    assert set(made.table.loc[changed, "Sex"]) == {"X9"}
