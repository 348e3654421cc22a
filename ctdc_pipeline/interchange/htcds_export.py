"""Write de-identified records as HTCDS 2.0. Nothing is invented to fill the standard.

What it cannot express is left out. ``CARRIED`` are the variables that come back when the file is read again; the others are
lost, or kept in part, as docs/interchange.md lists. Case numbers, pseudonyms and positions in source files are not written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.errors import TableError
from ctdc_pipeline.partners.htcds import CASE, LABELS, LAYOUT
from ctdc_pipeline.storage.tables import require_writable, unwritable, write_table
from ctdc_pipeline.storage.workbook import Sheet, write_workbook

COLUMNS: tuple[str, ...] = (
    CASE,
    "cas_CaseOwner",
    "prs_Salutation",
    "prs_FirstName",
    "prs_SecondName",
    "con_Consent",
    "prs_Birthdate",
    "prs_Gender",
    "prs_Citizenship",
    "prs_Title",
    "prs_Email",
    "prs_HomePhone",
    "prs_MobilePhone",
    "prs_MailingCity",
    "prs_MailingCountry",
    "prs_MailingState",
    "prs_MailingStreet",
    "prs_MailingPostalCode",
    "vic_TraffickingStatus",
    "vic_TraffickingStatusDecisionMakingOrg",
    "vic_MethodOfRecruitment",
    "vic_LocationOfRecruitment",
    "vic_MethodsOfControl",
    "vic_TypeOfExploitation",
    "vic_ForcedLabourIndustry",
    "vic_TypeOfSexExploitation",
    "vic_LocationOfExploitation",
    "cas_Status",
    "cas_ReferringOrganisation",
    "cas_IncomingReferralDate",
    "cas_ReferringPrimaryCaseWorker",
    "cas_ReasonForIncomingReferral",
    "cas_IncomingReferralDetails",
    "cas_ReferredOrganisation",
    "cas_ReferredPrimaryCaseWorker",
    "cas_ReasonForOutgoingReferral",
    "cas_OutgoingReferralDate",
    "cas_OutgoingReferralDetails",
    "cas_ReasonForCaseClosure",
    "vic_RelationshipToTrafficker",
    "hte_Type",
    "hte_Country",
)
"""The columns of the core form in order, and the three other columns that records need."""

_GENDERS = {"Female": "Feminine", "Male": "Masculine", "Transgender/NonConforming": "NonConforming"}
_ONLY_WITHOUT_DETAIL = {"meansOfControlOther": "Other", "isOtherExploit": "Other"}
"""Flags that are written as Other only if no detail that merges into them is written."""
_READ_ONLY = ("ThreatensChildrenFamily", "ChildLabour", "ForcedAdoption", "Surrogacy", "ForcedBegging", "A02", *"DEGJKLMNOPQRSU")
"""Values, or letters of industry sections, that mean more than the flag as which they are read."""


def _exact_values() -> dict[str, tuple[str, str]]:
    """Return for each flag the field and value that mean exactly the same."""
    values: dict[str, tuple[str, str]] = {}
    for field in LAYOUT.having("flags"):
        for code in field.codes:
            if code.code not in _READ_ONLY and code.code.split("_")[0] not in _READ_ONLY and len(code.means) == 1:
                values.setdefault(code.means[0], (field.name, code.code))
    return values


WRITTEN = _exact_values()
"""The field and value by which each flag is written."""
CARRIED = tuple(
    variable.name
    for variable in codebook().harmonised
    if variable.name in {*WRITTEN, "yearOfRegistration", "gender", "citizenship", "CountryOfExploitation"}
)
"""Variables that survive being written and read again."""


def to_htcds(table: pa.Table) -> pa.Table:
    """Convert records to HTCDS.

    Args:
        table: Variables of the codebook, of a release or harmonised, as text or dictionary-encoded. Other columns are not
            written.

    Returns:
        A table of text with the columns ``COLUMNS``: one row for each row, in order, numbered from 1.

    Raises:
        TableError: If there is no variable of the codebook, or a value that the codebook does not know.
    """
    variables = {name: _checked(table, variable) for name in table.column_names if (variable := _variable(name))}
    if not variables:
        raise TableError("the table has no variable of the codebook", remedy="Give a release or a harmonised table.")
    blank = np.full(table.num_rows, "", object)

    def texts(name: str) -> np.ndarray:
        return variables.get(name, blank)

    columns = dict.fromkeys(COLUMNS, blank)
    columns[CASE] = np.arange(1, table.num_rows + 1).astype(str).astype(object)
    columns["vic_TraffickingStatus"] = np.full(table.num_rows, "PossibleVictimOfTrafficking", object)
    columns["cas_IncomingReferralDate"] = texts("yearOfRegistration")
    columns["prs_Gender"] = np.array([_GENDERS.get(text, "") for text in texts("gender")], object)
    columns["prs_Citizenship"] = texts("citizenship")
    columns["hte_Country"] = texts("CountryOfExploitation")
    columns["hte_Type"] = np.where(texts("CountryOfExploitation") != "", "Exploitation", "").astype(object)
    for flag, (field, value) in WRITTEN.items():
        mask = texts(flag) == "1"
        if flag in _ONLY_WITHOUT_DETAIL:
            for detail in codebook().details:
                if detail.merges_into == flag and detail.name in WRITTEN:
                    mask &= texts(detail.name) != "1"
        columns[field] = _joined(columns[field], mask, value)
    # The industry section is for programs that know only sections; our own reader ignores it.
    farmed = (texts("typeOfLabourAgriculture") == "1") | (texts("typeOfLabourAquafarming") == "1")
    columns["vic_ForcedLabourIndustry"] = _joined(columns["vic_ForcedLabourIndustry"], farmed, "A_AgricultureForestryAndFishing")
    # Forced begging is forced labour in the standard, so it is written only if both flags are set.
    begging = (texts("typeOfLabourBegging") == "1") & (texts("isForcedLabour") == "1")
    columns["vic_TypeOfExploitation"] = _joined(columns["vic_TypeOfExploitation"], begging, "ForcedBegging")
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def write_htcds(table: pa.Table, path: Path) -> None:
    """Write ``to_htcds(table)`` to a file.

    Args:
        table: See ``to_htcds``.
        path: A name ending in .xlsx (the core form, with the system names hidden above the labels) or .csv.

    Raises:
        TableError: If the name has another ending, or the table cannot be converted.
        ResourceError: If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".xlsx", ".csv"):
        raise TableError(f"{path.name}: HTCDS is a workbook or a CSV file", remedy="Name a file ending in .xlsx or .csv.")
    require_writable(path.with_suffix(".csv"))
    htcds_table = to_htcds(table)
    if suffix == ".csv":
        write_table(htcds_table, path)
        return
    labels = pd.DataFrame([[LABELS.get(name) for name in COLUMNS]], columns=list(COLUMNS))
    rows = htcds_table.to_pandas().astype(object).replace("", None)
    with unwritable(path):
        write_workbook(path, [Sheet.of("HTCDS", pd.concat([labels, rows]), hide_headings=True)])


def _variable(name: str) -> Variable | None:
    return next((variable for variable in codebook().harmonised if variable.name == name), None)


def _checked(table: pa.Table, variable: Variable) -> np.ndarray:
    """Return the texts of one variable, "" where missing.

    Refuses texts that are not values of the variable.
    """
    cells = table[variable.name].cast(pa.string()).to_pandas().astype(object)
    rows, distinct = pd.factorize(cells, use_na_sentinel=True)
    for code, text in enumerate(distinct):
        if variable.canonical(str(text)) != text:
            raise TableError(
                f"column {variable.name}, row {int((rows == code).argmax()) + 1}: the value is not of the codebook",
                remedy="Give a release or a harmonised table; ctdc import makes one of a published file.",
            )
    return np.append(distinct.astype(object), "")[rows]


def _joined(column: np.ndarray, mask: np.ndarray, value: str) -> np.ndarray:
    return np.where(mask, np.where(column == "", value, column + ";" + value), column).astype(object)
