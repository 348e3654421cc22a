"""Find Dagster's code location and the version of this code."""

from __future__ import annotations

import site
import subprocess
import sysconfig
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ctdc_pipeline.errors import ResourceError

NAME = "ctdc-pipeline"
UNKNOWN = "0+unknown"
"""The version of code built outside git, whose commit is not known."""

_CHECKOUT = Path(__file__).parents[2]
"""The root of the checkout, or site-packages."""


def code_location() -> Path:
    """Return the folder that holds ``assets``, ``resources``, ``dagster.yaml`` and ``docs``.

    In a checkout that is its root. The wheel installs it as ``share/ctdc-pipeline``, so that nobody gets top-level packages of
    such common names.

    Raises:
        ResourceError: the installation lacks it.

    """
    bases = (_CHECKOUT, Path(sysconfig.get_path("data")), Path(site.getuserbase()))
    for folder in (_CHECKOUT, *(base / "share" / NAME for base in bases)):
        if (folder / "dagster.yaml").is_file():
            return folder
    raise ResourceError("Dagster's code location is not installed", remedy=f"Install the wheel of {NAME} again.")


@cache
def version() -> str:
    """Return the version of this code: in a checkout the current commit, otherwise the installed version.

    A checkout is marked ``.dirty`` if tracked files differ from the commit.
    """
    try:
        release = distribution(NAME).version
    except PackageNotFoundError:
        return UNKNOWN
    if release == "0.0":
        return UNKNOWN
    if not (_CHECKOUT / ".git").exists():
        return release
    command = ["git", "-C", str(_CHECKOUT), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=.dirty"]
    try:
        commit = subprocess.run(  # noqa: S603 (no part of it is anybody's input)
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return release
    return f"{release.partition('+')[0]}+g{commit}"
