"""What the catalogue says of every table beside its figures: who answers for it, who may see it, what describes it. No assets.

Sensitivity is said once, in the description of the table; the tags by which people filter follow from it.
"""

import inspect
import re
from warnings import catch_warnings

import dagster as dg

from assets.code_versions import code_version
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.counting.rounding import attribute_columns
from ctdc_pipeline.partners.layout import Layout
from ctdc_pipeline.partners.registry import PARTNERS, SOURCES
from resources.documentation import DOCUMENTATION, anchor

KINDS = {"python", "parquet"}
DATA_TEAM, APPROVERS = "team:ctdc-data", "team:ctdc-approvers"

_SENSITIVITY = re.compile(r"^(Most sensitive|Sensitive|Internal|Protected|Public)\b", re.MULTILINE)
_PAGES = {
    "ingestion": "landing.md",
    "harmonised": "partners.md#rows-that-do-not-enter",
    "harmonised/victims": "codebook.md",
    "harmonised/deliveries": "operations.md#a-normal-refresh",
    "harmonised/suppressed": "quality.md#countries-that-must-not-be-named",
    "measured": "differential-privacy.md#in-the-graph",
    "counts": "method.md#the-three-phases",
    "synthetic": "method.md#what-is-guaranteed",
    "quality": "products.md#the-quality-and-disclosure-report",
    "quality/attack_audit": "audit.md",
    "quality/possible_duplicates": "quality.md#possible-duplicates-across-partners",
    "release": "products.md",
    "release/candidate": "operations.md#a-release",
    "release/dp_candidate": "differential-privacy.md#a-release-of-measurements",
    "release/dp_dataset": "differential-privacy.md#a-release-of-measurements",
}
"""Where tables are described: by the name of a table, else by its group."""

COLUMNS = {
    "_file": "The file that the row came in.",
    "_row": "The row in that file, counted from 1 below the headings.",
    "partner": "The organisation that sent the record.",
    "source": "The system of the partner that the record comes from.",
    "refresh": "The period that the delivery is about.",
    "source_file": "The file that the row came in.",
    "source_row": "The row in that file, counted from 1 below the headings.",
    "case_key": "Keyed pseudonym of the case: HMAC-SHA-256 of the partner's number. It names nobody without the key.",
    "field": "The field of the partner's layout in which the rule is broken.",
    "rule": "The rule by which the row or the figure is as it is; docs/partners.md lists the rules.",
    "outcome": "Accepted, quarantined or excluded.",
    "rows": "How many rows.",
    "kind": "A snapshot of all cases, or an increment.",
    "content": "SHA-256 of the delivery.",
    "invented": "Whether the delivery says that it is a sample of invented people.",
    "values": "How many values became missing.",
    "length": "How many attributes a combination, or a record, has.",
    "variable": "A variable of the codebook.",
    "value": "A value of the variable.",
    "distinct": "Different combinations of this length.",
    "reportable": "Combinations in at least k records.",
    "rare": "Combinations in fewer than k records.",
    "unique": "Combinations in one record.",
    "count": "How many records hold it; in protected tables rounded down to a multiple of k.",
    "records": "Different synthetic records of this length.",
    "rare_records": "Those with fewer than k sensitive records behind them. There must be none.",
    "rare_rows": "Rows of such records.",
    "common": "Combinations in at least k sensitive records.",
    "lost": "Of those, how many no synthetic record holds; in `suppression` the share of values lost, in percent.",
    "preservation": "Share of the common combinations that synthetic records hold.",
    "relative_error": "Mean error of the synthetic counts, as a share of the sensitive ones.",
    "core_relative_error": "The same for pairs of core variables.",
    "mean_absolute_error": "Mean error of the synthetic counts, in records.",
    "missing": "Share of records without a value, in whole percent.",
    "year": "Year of registration.",
    "victims": "Victims, rounded down to a multiple of k.",
    "game": "What the attacker tries, and by which attack.",
    "release": "The release that is attacked.",
    "targets": "All targets, or the most isolated half.",
    "what": "What was measured.",
    "reached": "The figure: a share of attacks, or an epsilon.",
    "low": "Lower end of its interval.",
    "high": "Upper end of its interval.",
    "attacks": "How many attacks it is of.",
    "partner_a": "The partner of one case.",
    "case_key_a": "Pseudonym of that case.",
    "partner_b": "The partner of the other case.",
    "case_key_b": "Pseudonym of that case.",
    "score": "How much the two cases agree, beyond what is common anyway.",
    "shared": "The attributes that both have.",
    "sensitive": "Values in the sensitive records.",
    "synthetic": "Values in the synthetic records.",
    **{variable: "A variable of the combination." for variable, _ in attribute_columns(len(codebook().names))},
    **{value: "Its value." for _, value in attribute_columns(len(codebook().names))},
}
"""What columns hold that no codebook and no layout describes, by name."""


def layout_columns(layout: Layout) -> dict[str, str]:
    """What the columns of a partner's file are, from its layout."""
    return {field.name: field.about for field in layout.fields}


def catalogued(spec: dg.AssetSpec) -> dg.AssetSpec:
    """``spec`` with all that follows from its key and its description, so that no asset has to say it.

    Its group, kinds and code version, its owners, tags for zone and sensitivity, and a link to the documentation.
    """
    group, name = spec.key.path
    said = _SENSITIVITY.search(spec.description or "")
    level = said[1].lower().replace(" ", "-") if said else "sensitive"
    zone = group if group == "measured" else "public" if level == "public" else "sensitive"
    page = DOCUMENTATION + _page(group, name)
    described = spec.replace_attributes(
        description=f"{spec.description or ''}\n\n[Documentation]({page})".strip(),
        group_name=group,
        kinds=spec.kinds or KINDS,
        code_version=code_version(group),
    )
    return described.merge_attributes(
        owners=_owners(group, name),
        tags={"ctdc/zone": zone, "ctdc/sensitivity": level},
        metadata={"documentation": dg.MetadataValue.url(page)},
    )


def located(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """``asset`` with a link to its code. Dagster's own function does not see through decorators."""
    function = inspect.unwrap(getattr(asset.op.compute_fn, "decorated_fn"))  # noqa: B009 (a type that hides it)
    file, line = inspect.getsourcefile(function) or "", inspect.getsourcelines(function)[1]
    with catch_warnings(action="ignore", category=dg.BetaWarning):
        here = dg.CodeReferencesMetadataValue(code_references=[dg.LocalFileCodeReference(file_path=file, line_number=line)])
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(metadata={"dagster/code_references": here}))


def _owners(group: str, name: str) -> list[str]:
    """The data team of every table; of a partner's its data officer too, of a release who approves it."""
    partner = SOURCES[name].partner if group == "ingestion" else name if group == "harmonised" and name in PARTNERS else None
    return [DATA_TEAM, *([f"team:{partner}"] if partner else []), *([APPROVERS] if group in ("measured", "release") else [])]


def _page(group: str, name: str) -> str:
    sources = [SOURCES[name]] if group == "ingestion" else PARTNERS.get(name, ()) if group == "harmonised" else ()
    if sources:
        return f"partners.md#{anchor(next(iter(sources)).title)}"
    return _PAGES.get(f"{group}/{name}") or _PAGES[group]
