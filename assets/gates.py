"""The factory of the gate that every table has: a blocking check of its schema. Gates of one table only stand beside it."""

from collections.abc import Callable

import dagster as dg
import pandera.pandas as pandera
import pyarrow as pa

from assets.reporting import guarded
from ctdc_pipeline.files import read_parquet
from ctdc_pipeline.validation import failures
from resources.settings import DataHome, Engine

_FAILURES = dg.TableSchema([dg.TableColumn("column"), dg.TableColumn("check"), dg.TableColumn("rows", "int")])

Schema = Callable[[Engine], pandera.DataFrameSchema]


def plain(columns: pa.Schema) -> pandera.DataFrameSchema:
    """The schema of a table that follows from no codebook: just ``columns``, each filled in every row."""
    kinds = {column.name: "int64" if column.type == pa.int64() else str for column in columns}
    return pandera.DataFrameSchema({name: pandera.Column(kind) for name, kind in kinds.items()}, strict=True, ordered=True)


def verdict(passed: bool, remedy: str, **figures: dg.MetadataValue | float | str) -> dg.AssetCheckResult:
    """The result of a gate; a failing one says what to do."""
    return dg.AssetCheckResult(passed=passed, description=None if passed else remedy, metadata=figures)


def schema_gate(table: dg.AssetsDefinition | dg.AssetSpec, schema: Schema) -> dg.AssetChecksDefinition:
    """A blocking check that the Parquet file of ``table`` conforms to ``schema``; tells columns, checks and counts only."""
    stage, name = table.key.path

    @dg.asset_check(
        asset=table.key,
        name="schema",
        blocking=True,
        description="Every column is there, typed and within its code list.",
    )
    @guarded()
    def schema_holds(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
        path = home.zones().table(stage, name)
        found = failures(read_parquet(path).to_pandas(), schema=schema(engine))
        broken = [dg.TableRecord({"column": failure.column, "check": failure.check, "rows": failure.rows}) for failure in found]
        told = "; ".join(f"{f.column} fails {f.check} in at least {f.rows} rows" for f in found)
        remedy = f"{told}. Correct what writes this column, or its source, and materialise this table again."
        return verdict(not found, remedy, failures=dg.MetadataValue.table(broken, schema=_FAILURES))

    return schema_holds
