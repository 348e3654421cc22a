"""Inputs that were tried from outside; they are beside the project, not in it."""

from pathlib import Path

import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases"


def tried(name: str) -> Path:
    """The input called ``name``; skips the test where it is not there."""
    path = CASES / name
    if not path.exists():
        pytest.skip("the inputs that were tried from outside are not here")
    return path
