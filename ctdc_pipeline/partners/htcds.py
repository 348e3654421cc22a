"""The layout of HTCDS 2.0, the Human Trafficking Case Data Standard.

Any source may send its cases in it. The standard (UNMigration/HTCDS, 24 December 2021, CC BY 4.0) exists in serialisations that
differ: a workbook whose hidden first row contains system names above the labels, a workbook whose multi-selects are joined by
semicolons, and XLSForm, whose names contain additional underscores and whose multi-selects are joined by spaces. This module
turns each of them into one table whose headings and pick-list values are system names. ``LAYOUT`` says what the values mean in
the codebook.

HTCDS has no case number, so a file must also have the columns by which its source identifies cases, under the source's own
names.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.partners import reading
from ctdc_pipeline.partners.layout import DELIMITERS, Field, Layout, Source, codes
from ctdc_pipeline.partners.reading import InputFile
from ctdc_pipeline.spelling import normal_form
from ctdc_pipeline.storage.delimited import heading_size
from ctdc_pipeline.storage.files import read_bytes

COUNTRY = "hte_Country (Exploitation)"
"""A column that is computed while reading: ``hte_Country`` where ``hte_Type`` is Exploitation, otherwise
``vic_LocationOfExploitation`` where that is the name or three-letter code of a country. Other locations are not used.
"""
CASE = "cas_CaseNumber"
"""The column that identifies cases in our own exports; not part of the standard."""

_SIGNS = ("vic_TraffickingStatus", "vic_TypeOfExploitation", "cas_IncomingReferralDate", "prs_Citizenship", "prs_Gender")
_YES_NO = (("TRUE", "Yes"), ("FALSE", "No", "individual-without-consent"))

_PLAIN = {
    "org_Name": "Organisation Name",
    "org_ShippingCity": "Shipping City",
    "org_ShippingCountry": "Shipping Country",
    "org_ShippingState": "Shipping State/Province",
    "org_ShippingStreet": "Shipping Street",
    "org_ShippingPostalCode": "Shipping Zip/Postal Code",
    "org_ShippingLongitude": "",
    "org_ShippingLatitude": "",
    "org_Phone": "Phone",
    "org_Type": "",
    "prs_Salutation": "Salutation",
    "prs_FirstName": "First Name",
    "prs_MiddleName": "Middle Name",
    "prs_SecondName": "Second Name",
    "prs_Deceased": "Deceased",
    "prs_MaritalStatus": "Marital Status",
    "prs_NumberOfChildren": "Number of Children",
    "prs_PrimaryLanguage": "Primary Language",
    "prs_SecondaryLanguage": "Secondary Language",
    "prs_HighestLevelOfEducation": "Highest Level of Education",
    "prs_IdentityNumber": "Identity Number",
    "prs_Title": "Title",
    "prs_Email": "Email",
    "prs_HomePhone": "Home Phone",
    "prs_MobilePhone": "Mobile Phone",
    "prs_MailingCity": "Mailing City",
    "prs_MailingCountry": "Mailing Country",
    "prs_MailingState": "Mailing State/Province",
    "prs_MailingStreet": "Mailing Street",
    "prs_MailingPostalCode": "Mailing Zip/Postal Code",
    "prs_MailingLongitude": "",
    "prs_MailingLatitude": "",
    "vic_TraffickingStatusDecisionMakingOrg": "Trafficking Status Decision Making Organization",
    "vic_RecruitmentWebsitesAndApps": "Recruitment Websites and Apps",
    "vic_MethodOfRecruitment": "Method of Recruitment",
    "vic_LocationOfRecruitment": "Location of Recruitment",
    "vic_LocationOfExploitation": "Location of Exploitation",
    "vic_ExploitationWebsitesAndApps": "Exploitation Websites and Apps",
    "vic_Vulnerabilities": "Vulnerabilities",
    "vic_DetailsOfVulnerabilities": "Details Of Vulnerabilities",
    "per_RoleInProcess": "Role in Process",
    "per_RoleDetails": "Role Details",
    "per_Organisation": "",
    "cas_Status": "",
    "cas_ReasonForCaseClosure": "Reason for Case Closure",
    "cas_CaseOwner": "Case Owner",
    "cas_ReferringOrganisation": "Referring Organisation",
    "cas_ReferringPrimaryCaseWorker": "Referring Primary Case Worker",
    "cas_ReasonForIncomingReferral": "Reason for Incoming Referral",
    "cas_IncomingReferralDetails": "Incoming Referral Details",
    "cas_ReferredOrganisation": "Referred Organisation",
    "cas_ReferredPrimaryCaseWorker": "Referred Primary Case Worker",
    "cas_ReasonForOutgoingReferral": "Reason for Outgoing Referral",
    "cas_OutgoingReferralDate": "Outgoing Referral Date",
    "cas_OutgoingReferralDetails": "Outgoing Referral Details",
    "cco_CaseComment": "Case Comment",
    "hte_Longitude": "",
    "hte_Latitude": "",
    "hte_City": "",
    "hte_Country": "",
    "hte_State": "",
    "hte_Street": "",
    "hte_PostalCode": "",
    "hte_Date": "",
    "hte_Description": "",
    "spl_Objectives": "",
    "spl_ActionPlan": "",
    "spl_PlannedEndDate": "",
    "spl_ActualEndDate": "",
    "spl_Type": "",
}
"""Fields that are not used after ingestion, and their labels if the label belongs to one field only."""


def _choice(name: str, label: str, *rows: tuple[str, ...], required: bool = False, several: bool = True) -> Field:
    return Field(name, "code", "flags", codes(*rows), "official", required=required, separator=";" if several else "", note=label)


_CASES = (
    Field("cas_IncomingReferralDate", "date", "registered", basis="official", filled=True, note="Incoming Referral Date"),
    Field(
        "vic_TraffickingStatus",
        "code",
        "status",
        codes(
            ("PossibleVictimOfTrafficking", "Possible victim of trafficking"),
            ("ActualVictimOfTrafficking", "Actual victim of trafficking"),
            ("NotAVictimOfTrafficking", "Not a victim of trafficking", "not-a-victim"),
        ),
        "official",
        filled=True,
        note="Trafficking Status",
    ),
    Field("con_Consent", "code", "status", codes(*_YES_NO), "official", required=False, note="Consent"),
    Field(
        "vic_AgreementToManagePersonalData",
        "code",
        "status",
        codes(*_YES_NO),
        "official",
        required=False,
        note="Agreement to Manage Personal Data",
    ),
    Field("prs_Birthdate", "date", "birth", basis="official", identifying=True, required=False, note="Birthdate"),
    Field(
        "prs_Gender",
        "code",
        "gender",
        codes(
            ("Feminine", "Feminine", "Female"),
            ("Masculine", "Masculine", "Male"),
            ("TransgenderFeminine", "Transgender Feminine", "Transgender/NonConforming"),
            ("TransgenderMasculine", "Transgender Masculine", "Transgender/NonConforming"),
            ("NonConforming", "Non-Conforming", "Transgender/NonConforming"),
            ("NonSpecifiedUnknown", "Not Specified/Unknown"),
        ),
        "official",
        required=False,
        note="Gender",
    ),
    Field("prs_Citizenship", "country", "citizenship", basis="official", required=False, separator=";", note="Citizenship"),
    Field(COUNTRY, "country", "exploitation_country", required=False),
    Field(
        "vic_AgeWhenTrafficked", "integer", "age_at_exploitation", basis="official", required=False, note="Age when Trafficked"
    ),
    _choice(
        "vic_TypeOfExploitation",
        "Type of Exploitation",
        ("ForcedLabour", "Forced labour", "isForcedLabour"),
        ("SexualExploitation", "Sexual exploitation", "isSexualExploit"),
        ("ChildLabour", "Child labour", "isForcedLabour"),
        ("ForcedMarriage", "Forced marriage", "isForcedMarriage"),
        ("Servitude", "Servitude", "isSlaveryAndPractices"),
        ("ForcedMilitaryByNonStateActors", "Forced military (by non-state actors)", "isForcedMilitary"),
        ("OrganRemoval", "Organ removal", "isOrganRemoval"),
        ("ForcedBegging", "Forced begging", "isForcedLabour", "typeOfLabourBegging"),
        ("ForcedAdoption", "Forced adoption", "isOtherExploit"),
        ("Surrogacy", "Surrogacy", "isOtherExploit"),
        ("Other", "Other", "isOtherExploit"),
        required=True,
    ),
    # Section A is wider than CTDC's agriculture, which is its division 01: without a division it says nothing.
    _choice(
        "vic_ForcedLabourIndustry",
        "Forced Labour Industry",
        ("A_AgricultureForestryAndFishing", "Agriculture, forestry and fishing"),
        ("A01", "Crop and animal production, hunting and related service activities", "typeOfLabourAgriculture"),
        ("A02", "Forestry and logging", "typeOfLabourOther"),
        ("A03", "Fishing and aquaculture", "typeOfLabourAquafarming"),
        ("B_MiningAndQuarrying", "Mining and quarrying", "typeOfLabourMiningOrDrilling"),
        ("C_Manufacturing", "Manufacturing", "typeOfLabourManufacturing"),
        (
            "D_ElectricityGasSteamAndAirConditioningSupply",
            "Electricity, gas, steam and air conditioning supply",
            "typeOfLabourOther",
        ),
        (
            "E_WaterSupplySewerageWasteManagement",
            "Water supply; sewerage, waste management and remediation",
            "typeOfLabourOther",
        ),
        ("F_Construction", "Construction", "typeOfLabourConstruction"),
        (
            "G_WholesaleAndRetailTradeRepairOfMotorVehicles",
            "Wholesale and retail trade; repair of motor vehicles and motorcycles",
            "typeOfLabourOther",
        ),
        ("H_TransportationAndStorage", "Transportation and storage", "typeOfLabourTransportation"),
        ("I_AccommodationAndFoodServiceActivities", "Accommodation and food service activities", "typeOfLabourHospitality"),
        ("J_InformationAndCommunication", "Information and communication", "typeOfLabourOther"),
        ("K_FinancialAndInsuranceActivities", "Financial and insurance activities", "typeOfLabourOther"),
        ("L_RealEstateActivities", "Real estate activities", "typeOfLabourOther"),
        (
            "M_ProfessionalScientificAndTechnicalActivities",
            "Professional, scientific and technical activities",
            "typeOfLabourOther",
        ),
        ("N_AdministrativeAndSupportServiceActivities", "Administrative and support service activities", "typeOfLabourOther"),
        (
            "O_PublicAdministrationAndDefence",
            "Public administration and defence; compulsory social security",
            "typeOfLabourOther",
        ),
        ("P_Education", "Education", "typeOfLabourOther"),
        ("Q_HumanHealthAndSocialWorkActivities", "Human health and social work activities", "typeOfLabourOther"),
        ("R_ArtsEntertainmentAndRecreation", "Arts, entertainment and recreation", "typeOfLabourOther"),
        ("S_OtherServiceActivities", "Other service activities", "typeOfLabourOther"),
        (
            "T_ActivitiesOfHouseholdsAsEmployers",
            "Activities of households as employers; undifferentiated goods- and services- producing activities of households for "
            "own use",
            "typeOfLabourDomesticWork",
        ),
        (
            "U_ActivitiesOfExtraterritorialOrganizations",
            "Activities of extraterritorial organizations and bodies",
            "typeOfLabourOther",
        ),
    ),
    _choice(
        "vic_TypeOfSexExploitation",
        "Type of Sex Exploitation",
        ("Prostitution", "Prostitution", "typeOfSexProstitution"),
        ("Pornography", "Pornography", "typeOfSexPornography"),
        ("RemoteInteractiveServices", "Remote Interactive Services", "typeOfSexRemoteInteractiveServices"),
        ("PrivateSexualServices", "Private Sexual Services", "typeOfSexPrivateSexualServices"),
    ),
    _choice(
        "vic_MethodsOfControl",
        "Methods of Control",
        ("PhysicalThreats", "Physical threats", "meansOfControlThreats"),
        ("ThreatsLawEnforcement", "Threats of law enforcement", "meansOfControlThreatOfLawEnforce"),
        ("ThreatensChildrenFamily", "Threatens children/family", "meansOfControlThreats", "meansOfControlUsesChildren"),
        ("DebtBondage", "Debt bondage", "meansOfControlDebtBondage"),
        ("FalsePromises", "False promises", "meansOfControlFalsePromises"),
        ("PhysicalAbuse", "Physical abuse", "meansOfControlPhysicalAbuse"),
        ("SexualAbuse", "Sexual abuse", "meansOfControlSexualAbuse"),
        ("TakesEarnings", "Takes earnings", "meansOfControlTakesEarnings"),
        ("RestrictsFinancialAccess", "Restricts financial access", "meansOfControlRestrictsFinancialAccess"),
        ("RestrictsMedicalCare", "Restricts medical care", "meansOfControlRestrictsMedicalCare"),
        ("WithholdsNecessities", "Withholds necessities", "meansOfControlWithholdsNecessities"),
        ("PsychologicalAbuse", "Psychological abuse", "meansOfControlPsychologicalAbuse"),
        ("PsychoactiveSubstance", "Psychoactive substance", "meansOfControlPsychoactiveSubstances"),
        ("ExcessiveWorkingHours", "Excessive working hours", "meansOfControlExcessiveWorkingHours"),
        ("WithholdsDocuments", "Withholds documents", "meansOfControlWithholdsDocuments"),
        ("RestrictsMovement", "Restricts movement", "meansOfControlRestrictsMovement"),
        ("UsesChildren", "Uses children", "meansOfControlUsesChildren"),
        ("Other", "Other", "meansOfControlOther"),
    ),
    _choice(
        "vic_RelationshipToTrafficker",
        "Relationship to Trafficker",
        ("Familial", "Familial", "recruiterRelationFamily"),
        ("Acquainted", "Acquainted", "recruiterRelationFriend"),
        ("Unaquainted", "Unacquainted", "recruiterRelationOther"),
    ),
    Field(
        "hte_Type", "code", codes=codes(*((event, event) for event in ("Recruitment", "Transit", "Exploitation"))), required=False
    ),
    *(Field(name, basis="official", identifying=True, required=False, note=label) for name, label in _PLAIN.items()),
)


def as_source(source: Source) -> Source:
    """Return ``source`` as if it sent its cases in HTCDS, with its own identity columns.

    If the source has neither an opt-out list nor a consent register, every row must state the person's consent.
    """
    states_consent = not (source.opt_outs or source.consents)
    fields = [
        replace(field, required=states_consent, filled=states_consent) if field.name == "con_Consent" else field
        for field in _CASES
    ]
    return replace(source, cases=replace(LAYOUT, fields=(*source.cases.having("case_id"), *fields)))


def matches(path: Path) -> bool:
    """Return whether the headings of the file are HTCDS system names, in any serialisation.

    Raises OSError.
    """
    if path.stat().st_size > reading.MAX_BYTES:
        return False
    raw = read_bytes(path)
    if not raw.startswith(b"PK"):
        heading = _comparable(raw[: heading_size(raw)].decode("utf-8", "replace"))
        return sum(_comparable(sign) in heading for sign in _SIGNS) >= 2
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = [
                entry for entry in archive.infolist() if entry.filename.startswith(("xl/sharedStrings", "xl/worksheets/sheet"))
            ]
            if sum(entry.file_size for entry in parts) > reading.MAX_BYTES:
                return False
            texts = [archive.read(entry) for entry in parts]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        return False  # The reader reports what is wrong with the file.
    return sum(any(sign.encode() in text for text in texts) for sign in _SIGNS) >= 2


def read(path: Path, *, source: Source) -> tuple[pa.Table, tuple[str, ...]]:
    """Read one HTCDS file of ``source``, with the result of ``partners.reading.read``.

    This is ``reading.read`` with the layout of ``as_source(source)``. Raises DeliveryError.
    """
    return reading.read(path, layout=as_source(source).cases, source=source.name)


def _cells(raw: bytes, layout: Layout, input_file: InputFile) -> tuple[list[str], pa.Table]:
    """Return system names as headings, and cells whose pick-list values are system names.

    Several values in one cell are joined by semicolons. See ``Layout.cells``.
    """
    headings, columns = (
        _sheet(raw, input_file) if raw.startswith((b"PK", b"\xd0\xcf\x11\xe0")) else _text(raw, layout, input_file)
    )
    names = _names(headings, columns, input_file)
    if _has_labels(columns):
        columns = [column[1:] for column in columns]
    named_columns = [(name, np.array(column, object)) for name, column in zip(names, columns, strict=True) if name]
    filled_rows = (
        np.flatnonzero(np.logical_or.reduce([column != "" for _, column in named_columns]))
        if named_columns
        else np.array([], int)
    )
    # The form numbers rows in advance; unfilled ones do not count.
    row_count = int(filled_rows[-1]) + 1 if len(filled_rows) else 0
    table = {name: column[:row_count] for name, column in named_columns}
    reading.check_headings([*table], layout, input_file)
    separators_seen: dict[str, str] = {}
    for field in layout.fields:
        if field.name in table and (field.codes or field.role == "citizenship") and field.role != "case_id":
            table[field.name] = _rewritten(table[field.name], field, separators_seen, input_file)
    table[COUNTRY] = _exploitation_country(table, row_count)
    return [*table], pa.table({str(i): pa.array(column, pa.string()) for i, column in enumerate(table.values())})


def _sheet(raw: bytes, input_file: InputFile) -> tuple[list[str], list[list[str]]]:
    """Read the headings and columns of a workbook."""
    rows = reading.sheet_rows(raw, "", input_file)
    headings = [*filter(None, rows[0])]
    reading.require_one_sheet(raw, "", input_file, lambda other_headings: [*filter(None, other_headings)] == headings)
    return [heading.strip() for heading in rows[0]], [list(column) for column in zip(*rows[1:], strict=True)] or [
        [] for _ in rows[0]
    ]


def _text(raw: bytes, layout: Layout, input_file: InputFile) -> tuple[list[str], list[list[str]]]:
    """Read a delimited text with any separator.

    Headings may be blank, as one heading of the form is.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    size = heading_size(raw)
    known = {_comparable(field.name) for field in layout.fields}
    splits = {delimiter: reading.split_headings(raw[:size], layout, delimiter) for delimiter in DELIMITERS}
    delimiter = max(splits, key=lambda candidate: len(known & {_comparable(heading) for heading in splits[candidate]}))
    headings = splits[delimiter]
    if "" in headings:
        line = io.StringIO()
        csv.writer(line, delimiter=delimiter, lineterminator="").writerow(
            [heading or f"(blank {position})" for position, heading in enumerate(headings)]
        )
        raw = line.getvalue().encode() + b"\n" + raw[size:]
    as_sent = replace(
        layout, delimiter=delimiter, fields=tuple(Field(heading, required=False) for heading in headings if heading)
    )
    _, table = reading.text_cells(raw, as_sent, input_file)
    return headings, [column.to_pylist() for column in table.columns]


def _names(headings: Sequence[str], columns: Sequence[Sequence[str]], input_file: InputFile) -> list[str]:
    """Return the field name of each column, from its heading or else from the label below.

    Returns "" if neither is known.

    Raises:
        DeliveryError: If heading and label contradict each other, or two columns have the same field.
    """
    labels = [column[0].strip() for column in columns] if _has_labels(columns) else []
    names: list[str] = []
    for heading, label in zip_longest(headings, labels, fillvalue=""):
        name, name_by_label = _FIELDS.get(_comparable(heading), heading), _LABELS.get(_comparable(label), "")
        known = name in _FIELDS.values()
        # The form itself lists the address labels in another order, and XLSForm gives a title the label of a name.
        agreed = (
            not name_by_label
            or name_by_label == name
            or {name_by_label[:11], name[:11]} == {"prs_Mailing"}
            or name == "prs_Title"
        )
        if known and not agreed:
            input_file.refuse(
                "the system name and the label below it belong to different fields",
                "Restore the order of the columns in both rows of headings.",
                column=name,
            )
        name = name or name_by_label
        if name and name in names:
            input_file.refuse(
                "the field occurs twice" + (", in the spellings of two serialisations" if name not in (heading,) else ""),
                "Send each field once, all in one serialisation.",
                column=name if name in _FIELDS.values() else f"number {len(names) + 1}",
            )
        names.append(name)
    return names


def _has_labels(columns: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row below the system names contains labels."""
    return sum(_comparable(column[0]) in _LABELS for column in columns if column) >= 3


def _rewritten(cells: np.ndarray, field: Field, separators_seen: dict[str, str], input_file: InputFile) -> np.ndarray:
    """Replace the values that the pick list knows by their system names.

    ``separators_seen`` collects the separators of the whole file, which may use only one.
    """
    rows, distinct = pd.factorize(cells)
    recognise = _recogniser(field)
    result: list[str] = []
    for position, text in enumerate(distinct):
        value, separators = _value(str(text), field, recognise)
        for separator in separators:
            separators_seen.setdefault(separator, field.name)
        if len(separators_seen) > 1:
            input_file.refuse(
                "values are joined by semicolons in some cells of the file and by spaces in others",
                "Export the whole file in one serialisation.",
                row=int((rows == position).argmax()) + 1,
                column=field.name,
            )
        result.append(value)
    return np.array(result, object)[rows]


def _value(text: str, field: Field, recognise: Callable[[str], str | None]) -> tuple[str, str]:
    """Return one cell in system names, and the separators that it uses."""
    whole_value = recognise(text)
    if whole_value or not text.strip() or not field.multi:
        return whole_value or text, ""
    if ";" in text:
        parts, values, inner = text.split(";"), [], ""
        longest = 1 + max((code.label.count(";") for code in field.codes), default=0)
        while parts:
            # Some labels contain a semicolon, so the longest run of parts that is a known value is taken as one value.
            for end in range(min(len(parts), longest), 0, -1):
                if value := recognise(";".join(parts[:end])):
                    values.append(value)
                    parts = parts[end:]
                    break
            else:
                part = parts.pop(0)
                inner = " " if _spaced(part, field, recognise) else inner
                if part.strip():
                    return text, ";" + inner
        return ";".join(values), ";"
    spaced = _spaced(text, field, recognise)
    return (";".join(spaced), " ") if spaced else (text, "")


def _spaced(text: str, field: Field, recognise: Callable[[str], str | None]) -> list[str]:
    """Return the values of a cell of system names or country codes separated by spaces.

    Returns [] for any other cell.
    """
    tokens = text.split()
    values = [recognise(token) for token in tokens if field.codes or (token.isupper() and len(token) < 4)]
    return [value for value in values if value] if len(tokens) > 1 and len(values) == len(tokens) and all(values) else []


def _recogniser(field: Field) -> Callable[[str], str | None]:
    """Return a function that recognises a value of ``field``, or returns None.

    A country is recognised by code or name, a pick-list entry by system name, label or definition.
    """
    if field.role == "citizenship":
        return cache(lambda text: countries().alpha3(text, system="any"))
    spellings = {_comparable(text): code.code for code in field.codes for text in (code.label, code.code)}
    spellings |= {f"methodsofcontrol{spelling}": code for spelling, code in spellings.items()}
    if "yes" in spellings:
        spellings |= {"1": "TRUE", "0": "FALSE"}
    return cache(lambda text: spellings.get(_comparable(text)))


def _exploitation_country(table: dict[str, np.ndarray], row_count: int) -> np.ndarray:
    blank = np.full(row_count, "", object)
    event_country = np.where(table.get("hte_Type", blank) == "Exploitation", table.get("hte_Country", blank), "")
    rows, locations = pd.factorize(table.get("vic_LocationOfExploitation", blank))
    # Two-letter codes are not accepted: they are as often a place within a country, such as LA or CA.
    known_countries = [
        countries().alpha3(location, system="iso3") or countries().alpha3(location, system="name") or ""
        for location in map(str, locations)
    ]
    location_country = np.array(known_countries, object)[rows] if row_count else blank
    return np.where(event_country != "", event_country, location_country)


def _comparable(text: str) -> str:
    """Return a form that ignores case, spaces, underscores and punctuation."""
    return re.sub(r"[\W_]+", "", normal_form(text)).casefold()


LAYOUT = Layout(
    title="HTCDS 2.0 case export",
    file_pattern="*",
    fields=(Field(CASE, role="case_id", filled=True), *_CASES),
    format="xlsx",
    date_formats=("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y"),
    countries="any",
    cells=_cells,
)
"""HTCDS with our own case number; ``as_source`` adapts it to a source."""

_FIELDS = {_comparable(field.name): field.name for field in LAYOUT.fields} | {
    "victraffickinstatusdecisionmakingorg": "vic_TraffickingStatusDecisionMakingOrg"
}
"""System names by their comparable form, which XLSForm's names share, and the one that the form misspells."""
LABELS = {field.name: field.note for field in _CASES if field.note}
"""Labels of the standard by system name, if the label belongs to one field only."""
_LABELS = {_comparable(label): name for name, label in LABELS.items()}
