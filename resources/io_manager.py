"""The IO manager: it refuses, so that no row of a case table can end up pickled below DAGSTER_HOME."""

from typing import Any, NoReturn

import dagster as dg


class NoRows(dg.ConfigurableIOManager):
    """Tables are files that assets read and write by path; nothing passes through Dagster."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Accept only the absence of a value. Raises dagster.Failure."""
        if obj is not None:
            self._refuse()

    def load_input(self, context: dg.InputContext) -> NoReturn:
        """Never. Raises dagster.Failure."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise dg.Failure("Rows do not pass through Dagster. Write the table with the library and return its metadata.")
