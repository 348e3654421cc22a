"""The configuration of the Dagster instance: ``dagster.yaml`` of the code location, with other storage where that is asked for.

The file itself cannot name the variable: everyone without Postgres reads it, and an unset variable stops them.
"""

import os
import shlex
import sys
from pathlib import Path

import dagster as dg
import yaml
from sqlalchemy.exc import SQLAlchemyError

from ctdc_pipeline.errors import CtdcError, ResourceError
from ctdc_pipeline.storage.zones import Zones, locked

POSTGRES = "CTDC_DAGSTER_POSTGRES_URL"
"""The address of a Postgres database for Dagster's storage; without it the storage is SQLite below ``DAGSTER_HOME``."""

_CONFIGURATION = Path(__file__).parents[1] / "dagster.yaml"
_WORKSPACE = {
    "load_from": [
        {
            "python_module": {
                "module_name": "ctdc_pipeline.definitions",
                "location_name": "ctdc_pipeline",
                "working_directory": str(_CONFIGURATION.parent),
            }
        }
    ]
}
_STORAGE = f"""
storage:
  postgres:
    postgres_url:
      env: {POSTGRES}
"""


def configure(zones: Zones) -> Path:
    """Write the instance's settings and workspace, make its storage and return its folder, which is to be ``DAGSTER_HOME``.

    One process at a time: SQLite files that two processes of Dagster make at once, as its webserver and its daemon do at their
    first start, can fail one of them. Raises OSError, and what Dagster raises when it cannot reach its storage.
    """
    folder = zones.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    storage = _STORAGE if os.environ.get(POSTGRES) else ""
    with locked(folder / ".lock"):
        (folder / "dagster.yaml").write_text(_CONFIGURATION.read_text(encoding="utf-8") + storage, encoding="utf-8")
        (folder / "workspace.yaml").write_text(yaml.safe_dump(_WORKSPACE), encoding="utf-8")
        try:
            with dg.DagsterInstance.from_config(str(folder)):
                return folder
        except SQLAlchemyError as error:
            raise ResourceError(
                f"Dagster's storage cannot be opened ({type(error).__name__})",
                remedy=f"Check that {POSTGRES} is right, or that the files in the folder dagster of CTDC_HOME can be written.",
            ) from None


if __name__ == "__main__":
    try:
        zones = Zones.from_environment()
        settings = {"CTDC_HOME": zones.root, "DAGSTER_HOME": configure(zones), "DAGSTER_DISABLE_TELEMETRY": "yes"}
        for name, value in settings.items():
            print(f"export {name}={shlex.quote(str(value))}")  # noqa: T201
    except (CtdcError, OSError) as error:
        sys.exit(f"ctdc: {error}")
