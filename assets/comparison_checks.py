"""The factory of the warnings that every delivery and partner has: comparisons with the state before. They block nothing."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from assets.reporting import grid, guarded, plot
from ctdc_pipeline.ingestion.profiles import Profile
from ctdc_pipeline.quality.delivery_comparisons import Comparison, Finding
from resources.settings import DataHome, Engine

Profiles = Callable[[DataHome], tuple[Profile | None, Profile | None]]
"""The state now and the one before, as far as they are there."""


def comparison_checks(
    key: Sequence[str], *, comparisons: Sequence[Comparison], profiles: Profiles, drawn: bool = True
) -> dg.AssetChecksDefinition:
    """One check for each of ``comparisons`` of the asset ``key``, those chosen in one step, for they read the same tables.

    Unless ``drawn``, only what warns is plotted: a plot takes longer than all else here, and a backfill makes a hundred.
    """
    specs = [dg.AssetCheckSpec(one.name, asset=key, description=f"{one.about} If so: {one.remedy}") for one in comparisons]

    @dg.multi_asset_check(specs=specs, name=f"{'__'.join(key)}__compared", can_subset=True)
    def compare(context: dg.AssetCheckExecutionContext, home: DataHome, engine: Engine) -> Iterator[dg.AssetCheckResult]:
        with guarded():
            now, before = profiles(home)
            told = f"{now.label if now else 'nothing'} against {before.label if before else 'nothing'}"
            chosen = {check.name for check in context.selected_asset_check_keys}
            for one in (one for one in comparisons if one.name in chosen):
                finding = one.find(now, before, engine.k) if now else None
                yield _result(finding, one, key, states=told, drawn=drawn)

    return compare


def _result(
    finding: Finding | None, comparison: Comparison, key: Sequence[str], *, states: str, drawn: bool
) -> dg.AssetCheckResult:
    figures: dict[str, dg.MetadataValue | float | str] = {"compared": states}
    if finding:
        figures |= {"concerns": len(finding.concerns), **finding.numbers}
        if drawn or finding.concerns:
            figures["plot"] = plot(finding.plot())
        figures["figures"] = grid(finding.figures)
    concerns = finding.concerns if finding else ()
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(key),
        check_name=comparison.name,
        passed=not concerns,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{'; '.join(concerns)}. {comparison.remedy}" if concerns else None,
        metadata=figures,
    )
