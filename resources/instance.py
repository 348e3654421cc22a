"""The configuration of the Dagster instance: the repository's ``dagster.yaml``, with other storage where that is asked for.

The repository's own file cannot name the variable: everyone without Postgres reads it, and an unset variable stops them.
"""

import os
from pathlib import Path

from ctdc_pipeline.zones import Zones

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
    """Write the instance's ``dagster.yaml`` and return its folder, which is to be ``DAGSTER_HOME``. Raises OSError."""
    folder = zones.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    storage = _STORAGE if os.environ.get(POSTGRES) else ""
    (folder / "dagster.yaml").write_text(_CONFIGURATION.read_text(encoding="utf-8") + storage, encoding="utf-8")
    return folder


if __name__ == "__main__":
    configure(Zones.from_environment())
