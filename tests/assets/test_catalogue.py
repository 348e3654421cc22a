"""What the catalogue says of tables beside their figures: owners, tags and links."""

import re
from pathlib import Path

import dagster as dg
import pytest

from ctdc_pipeline.definitions import build_defs
from resources.documentation import DOCUMENTATION, FOLDER, markdown_page

SPECS = sorted(build_defs().resolve_all_asset_specs(), key=lambda spec: spec.key)
IDS = [spec.key.to_user_string() for spec in SPECS]


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_table_can_be_found_by_who_may_see_it(spec: dg.AssetSpec) -> None:
    """A tag that says less than the description would show a sensitive table among the public ones."""
    level = spec.tags["ctdc/sensitivity"]
    assert re.search(rf"^{level.replace('-', ' ')}( until released)?[.:]", spec.description or "", re.IGNORECASE | re.MULTILINE)
    assert (spec.tags["ctdc/zone"] == "public") == (
        spec.key.path in (["release", "global_synthetic_dataset"], ["release", "dp_dataset"])
    )


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_table_links_to_a_heading_that_is_there(spec: dg.AssetSpec) -> None:
    """A heading that was renamed would leave the reader at the top of a long page, or on none."""
    link = spec.metadata["documentation"]
    assert isinstance(link, dg.UrlMetadataValue)
    page, _, heading = str(link.url).removeprefix(DOCUMENTATION).partition("#")
    html = markdown_page((FOLDER / page).read_text(encoding="utf-8"))
    assert not heading or f'id="{heading}"' in html


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_table_links_to_its_code(spec: dg.AssetSpec) -> None:
    """Decorators made every link one to the standard library."""
    (reference,) = spec.metadata["dagster/code_references"].code_references
    assert Path(reference.file_path).parent.name == spec.key.path[0]
    following = Path(reference.file_path).read_text(encoding="utf-8").splitlines()[reference.line_number - 1 :][:20]
    assert any(line.lstrip().startswith("def ") for line in following)


def test_owners_are_those_whom_to_ask() -> None:
    """Of a partner's tables that partner knows most; of a release who approves it."""
    owners = {spec.key.to_user_string(): set(spec.owners) for spec in SPECS}
    assert owners["ingestion/iom_mimosa"] == owners["harmonised/iom"] == {"team:ctdc-data", "team:iom"}
    assert owners["release/candidate"] == {"team:ctdc-data", "team:ctdc-approvers"}
    assert owners["harmonised/victims"] == {"team:ctdc-data"}
