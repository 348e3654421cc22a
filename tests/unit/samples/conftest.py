"""Provide one set of sample exports for the tests of this folder."""

from pathlib import Path

import pytest

from ctdc_pipeline.samples.generate import SampleSummary, generate

VICTIMS = 6_000


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleSummary]:
    """The folder of the exports about ``VICTIMS`` persons, and what was planted."""
    folder = tmp_path_factory.mktemp("sample")
    return folder, generate(folder, victims=VICTIMS, seed=3)
