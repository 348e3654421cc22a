"""The configuration of the Dagster instance: the repository's ``dagster.yaml``, with other storage where that is asked for.

The repository's own file cannot name the variable: everyone without Postgres reads it, and an unset variable stops them.
"""

import os
from pathlib import Path

import dagster as dg

from ctdc_pipeline.zones import Zones, locked

POSTGRES = "CTDC_DAGSTER_POSTGRES_URL"
"""The address of a Postgres database for Dagster's storage; without it the storage is SQLite below ``DAGSTER_HOME``."""

_CONFIGURATION = Path(__file__).parents[1] / "dagster.yaml"
_STORAGE = f"""
storage:
  postgres:
    postgres_url:
      env: {POSTGRES}
"""


def configure(zones: Zones) -> Path:
    """Write the instance's ``dagster.yaml``, make its storage and return its folder, which is to be ``DAGSTER_HOME``.

    One process at a time: SQLite files that two processes of Dagster make at once, as its webserver and its daemon do at their
    first start, can fail one of them. Raises OSError, and what Dagster raises when it cannot reach its storage.
    """
    folder = zones.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    storage = _STORAGE if os.environ.get(POSTGRES) else ""
    with locked(folder / ".lock"):
        (folder / "dagster.yaml").write_text(_CONFIGURATION.read_text(encoding="utf-8") + storage, encoding="utf-8")
        with dg.DagsterInstance.from_config(str(folder)):
            return folder


if __name__ == "__main__":
    configure(Zones.from_environment())
