"""Gates: checks that block what comes after. Here is the one that every table has, of its schema; others stand beside theirs."""

from collections.abc import Callable, Sequence

import dagster as dg
import pandera.pandas as pandera
import pyarrow as pa

from assets.reporting import guarded
from ctdc_pipeline.codebook.validation import failures
from ctdc_pipeline.storage.files import read_parquet
from resources.settings import DataHome, Engine

_FAILURES = dg.TableSchema([dg.TableColumn("column"), dg.TableColumn("check"), dg.TableColumn("rows", "int")])

Schema = Callable[[Engine], pandera.DataFrameSchema]


def plain(columns: pa.Schema) -> pandera.DataFrameSchema:
    """The schema of a table that follows from no codebook: just ``columns``, each filled in every row."""
    kinds = {column.name: {pa.int64(): "int64", pa.bool_(): "bool"}.get(column.type, str) for column in columns}
    return pandera.DataFrameSchema({name: pandera.Column(kind) for name, kind in kinds.items()}, strict=True, ordered=True)


def verdict(passed: bool, remedy: str, **figures: dg.MetadataValue | float | str) -> dg.AssetCheckResult:
    """The result of a gate; a failing one says what to do."""
    return dg.AssetCheckResult(passed=passed, description=None if passed else remedy, metadata=figures)


def gate(
    table: dg.AssetsDefinition | dg.AssetKey | Sequence[str], *, name: str = ""
) -> Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """Make a function the blocking check of ``table`` that is called as it is, or ``name``; its docstring says what holds."""

    def made(check: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        described = dg.asset_check(asset=table, name=name or check.__name__, blocking=True, description=check.__doc__)
        return described(guarded()(check))

    return made


def schema_gate(table: dg.AssetsDefinition | dg.AssetSpec, schema: Schema) -> dg.AssetChecksDefinition:
    """A blocking check that the Parquet file of ``table`` conforms to ``schema``; tells columns, checks and counts only."""
    stage, name = table.key.path

    @gate(table.key, name="schema")
    def schema_holds(home: DataHome, engine: Engine) -> dg.AssetCheckResult:
        """Every column is there, typed and within its code list."""
        path = home.zones().table(stage, name)
        failed = failures(read_parquet(path).to_pandas(), schema=schema(engine))
        broken = [dg.TableRecord({"column": failure.column, "check": failure.check, "rows": failure.rows}) for failure in failed]
        broken_rules = "; ".join(f"{f.column} fails {f.check} in at least {f.rows} rows" for f in failed)
        remedy = f"{broken_rules}. Correct what writes this column, or its source, and materialise this table again."
        return verdict(not failed, remedy, failures=dg.MetadataValue.table(broken, schema=_FAILURES))

    return schema_holds
