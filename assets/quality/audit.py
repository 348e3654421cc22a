"""What attacks on releases of the victims reach. Made by a job of its own: it takes minutes, and nothing depends on it."""

import json

import dagster as dg

from assets.gates import schema_gate
from assets.harmonised.victims import victims
from assets.reporting import Materialized, grid, guarded, table_result
from ctdc_pipeline.audit.audit import audit, schema, table_of
from ctdc_pipeline.audit.page import FIGURES, headlines, write
from ctdc_pipeline.audit.releases import Settings
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import rounded_down
from ctdc_pipeline.privacy.domain import domain_of_table
from ctdc_pipeline.storage.files import read_bytes, read_parquet, write_parquet
from resources.settings import DataHome, Engine


class AuditConfig(dg.Config):
    """What is promised, and how much is attacked."""

    epsilon: float = 4.0
    """Of the differentially private records and counts that are attacked."""
    delta: float = 1e-6
    targets: int = 1000
    """People who are attacked; half of them the most isolated."""
    runs: int = 8
    """Releases of each kind."""
    repeats: int = 1000
    """Of differentially private measurements, with one person and without."""
    seed: int = 1


@dg.asset(key=["quality", "attack_audit"], deps=[victims])
@guarded()
def attack_audit(config: AuditConfig, home: DataHome, engine: Engine) -> Materialized:
    """What attackers gain from releases of the victims: membership, singling out, inference, linkage, reconstruction.

    Internal: never to be published, and never to be used to choose among runs. For the data team and the release approver.
    A page and JSON are in the folder beside the table. Materialised by the job `audit` only.
    """
    zones = home.zones()
    table = read_parquet(zones.table("harmonised", "victims"), columns=list(codebook().names))
    settings = Settings(k=engine.k, core=tuple(engine.core), limits=engine.limits, **config.model_dump())
    done = audit(table, domain=domain_of_table(table), settings=settings, parent=zones.tmp)
    folder, path = zones.folder("quality", "attack_audit"), zones.table("quality", "attack_audit")
    write(done, folder, parent=zones.tmp, sealed=True)
    write_parquet(table_of(done), path)
    figures = grid([{"what": what, "figure": figure} for what, figure in headlines(done)])
    return table_result(path, headlines=figures, folder=dg.MetadataValue.path(folder), people=rounded_down(done.rows, engine.k))


attack_audit_schema = schema_gate(attack_audit, lambda _: schema())


@dg.asset_check(
    asset=attack_audit.key,
    name="promises_hold",
    description="No mechanism of ours was proved to have more epsilon than it promises, and the audit caught the one that is"
    " known to. If not, release nothing differentially private until it is understood.",
)
@guarded()
def promises_hold(home: DataHome) -> dg.AssetCheckResult:
    found = json.loads(read_bytes(home.zones().folder("quality", "attack_audit") / FIGURES))
    text = f"broken: {', '.join(found['broken'])}" if found["broken"] else "the audit missed the known fault"
    passed = not found["broken"] and not found["blind"]
    return dg.AssetCheckResult(passed=passed, description=None if passed else text)
