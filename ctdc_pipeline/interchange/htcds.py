"""HTCDS 2.0, the Human Trafficking Case Data Standard, as a layout any source may send its cases in.

The standard (UNMigration/HTCDS, 24 December 2021, CC BY 4.0) exists in serialisations that disagree: a workbook whose hidden
first row holds system names above the labels, a workbook whose multi-selects are joined by semicolons, and XLSForm, whose names
have underscores of their own and whose multi-selects are joined by spaces. Here they become one table with the system names as
headings and as values of the pick lists. What the values mean for the codebook is said by ``LAYOUT``.

HTCDS has no case number, so a file must carry the columns by which its source tells cases apart, under the source's own names.
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

from ctdc_pipeline.codebook import countries
from ctdc_pipeline.files import read_bytes
from ctdc_pipeline.partners import reading
from ctdc_pipeline.partners.layout import DELIMITERS, Field, Layout, Source, codes
from ctdc_pipeline.partners.reading import Place

COUNTRY = "hte_Country (Exploitation)"
"""A column made in reading: ``hte_Country`` where ``hte_Type`` is Exploitation, else ``vic_LocationOfExploitation`` where that is
the name or three-letter code of a country. A location of any other kind says nothing here."""
CASE = "cas_CaseNumber"
"""What tells cases apart in an export of ours; not part of the standard."""

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
"""Fields that stop in ingestion, and their labels where one label belongs to one field."""


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
    Field("hte_Type", "code", codes=codes(*((one, one) for one in ("Recruitment", "Transit", "Exploitation"))), required=False),
    *(Field(name, basis="official", identifying=True, required=False, note=label) for name, label in _PLAIN.items()),
)


def as_source(source: Source) -> Source:
    """``source`` sending its cases in HTCDS, told apart by its own identity columns.

    Where the source has no list of opt-outs or consents, every row must state the person's consent.
    """
    silent = not (source.opt_outs or source.consents)
    fields = [replace(one, required=silent, filled=silent) if one.name == "con_Consent" else one for one in _CASES]
    return replace(source, cases=replace(LAYOUT, fields=(*source.cases.having("case_id"), *fields)))


def matches(path: Path) -> bool:
    """Whether the file at ``path`` is headed by HTCDS system names, of whichever serialisation. Raises OSError."""
    if path.stat().st_size > reading.MAX_BYTES:
        return False
    raw = read_bytes(path)
    if not raw.startswith(b"PK"):
        heading = _spelling(raw.partition(b"\n")[0].decode("utf-8", "replace"))
        return sum(_spelling(sign) in heading for sign in _SIGNS) >= 2
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = [one for one in archive.infolist() if one.filename.startswith(("xl/sharedStrings", "xl/worksheets/sheet"))]
            if sum(one.file_size for one in parts) > reading.MAX_BYTES:
                return False
            texts = [archive.read(one) for one in parts]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        return False  # The reader says what is wrong with it.
    return sum(any(sign.encode() in text for text in texts) for sign in _SIGNS) >= 2


def read(path: Path, *, source: Source) -> tuple[pa.Table, tuple[str, ...]]:
    """One HTCDS file of ``source`` in the shape of ``partners.reading.read``. Raises DeliveryError.

    The same as ``reading.read`` with the layout of ``as_source(source)``.
    """
    return reading.read(path, layout=as_source(source).cases, source=source.name)


def _cells(raw: bytes, layout: Layout, place: Place) -> tuple[list[str], pa.Table]:
    """Headings as system names, and cells whose pick lists hold system names joined by semicolons; see ``Layout.cells``."""
    headings, columns = _sheet(raw, place) if raw.startswith((b"PK", b"\xd0\xcf\x11\xe0")) else _text(raw, layout, place)
    names = _names(headings, columns, place)
    if _has_labels(columns):
        columns = [column[1:] for column in columns]
    kept = [(name, np.array(column, object)) for name, column in zip(names, columns, strict=True) if name]
    filled = np.flatnonzero(np.logical_or.reduce([column != "" for _, column in kept])) if kept else np.array([], int)
    size = int(filled[-1]) + 1 if len(filled) else 0  # The form numbers rows in advance; those that nobody filled are none.
    table = {name: column[:size] for name, column in kept}
    reading.check_headings([*table], layout, place)
    seen: dict[str, str] = {}
    for field in layout.fields:
        if field.name in table and (field.codes or field.role == "citizenship") and field.role != "case_id":
            table[field.name] = _rewritten(table[field.name], field, seen, place)
    table[COUNTRY] = _exploitation_country(table, size)
    return [*table], pa.table({str(i): pa.array(column, pa.string()) for i, column in enumerate(table.values())})


def _sheet(raw: bytes, place: Place) -> tuple[list[str], list[list[str]]]:
    rows = reading.sheet_rows(raw, "", place)
    return [heading.strip() for heading in rows[0]], [list(column) for column in zip(*rows[1:], strict=True)] or [
        [] for _ in rows[0]
    ]


def _text(raw: bytes, layout: Layout, place: Place) -> tuple[list[str], list[list[str]]]:
    """A delimited text, with whichever separator; headings may be blank, as one is in the form."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    first, _, rest = raw.partition(b"\n")
    known = {_spelling(field.name) for field in layout.fields}
    splits = {
        delimiter: [
            cell.strip() for cell in next(csv.reader([first.decode("utf-8", "replace").strip("\r")], delimiter=delimiter), [])
        ]
        for delimiter in DELIMITERS
    }
    delimiter = max(splits, key=lambda one: len(known & {_spelling(heading) for heading in splits[one]}))
    headings = splits[delimiter]
    if "" in headings:
        line = io.StringIO()
        csv.writer(line, delimiter=delimiter, lineterminator="").writerow(
            [heading or f"(blank {position})" for position, heading in enumerate(headings)]
        )
        raw = line.getvalue().encode() + b"\n" + rest
    as_sent = replace(
        layout, delimiter=delimiter, fields=tuple(Field(heading, required=False) for heading in headings if heading)
    )
    _, table = reading.text_cells(raw, as_sent, place)
    return headings, [column.to_pylist() for column in table.columns]


def _names(headings: Sequence[str], columns: Sequence[Sequence[str]], place: Place) -> list[str]:
    """The field of each column, by its heading, else by the label below; "" has neither. Refuses what contradicts itself."""
    labels = [column[0].strip() for column in columns] if _has_labels(columns) else []
    names: list[str] = []
    for heading, label in zip_longest(headings, labels, fillvalue=""):
        name, told = _FIELDS.get(_spelling(heading), heading), _LABELS.get(_spelling(label), "")
        known = name in _FIELDS.values()
        # The form itself has the labels of addresses in another order, and XLSForm labels a title as a name.
        agreed = not told or told == name or {told[:11], name[:11]} == {"prs_Mailing"} or name == "prs_Title"
        if known and not agreed:
            place.refuse(
                "the system name and the label below it are of two fields",
                "Restore the order of the columns in both rows of headings.",
                column=name,
            )
        name = name or told
        if name and name in names:
            place.refuse(
                "the field is there twice" + (", in the spellings of two serialisations" if name not in (heading,) else ""),
                "Send each field once, all in one serialisation.",
                column=name if name in _FIELDS.values() else f"number {len(names) + 1}",
            )
        names.append(name)
    return names


def _has_labels(columns: Sequence[Sequence[str]]) -> bool:
    """Whether the first row below the system names holds labels."""
    return sum(_spelling(column[0]) in _LABELS for column in columns if column) >= 3


def _rewritten(cells: np.ndarray, field: Field, seen: dict[str, str], place: Place) -> np.ndarray:
    """``cells`` with each value that the pick list knows as its system name; others stay as they are.

    ``seen`` collects the separators of the whole file, which may have one only.
    """
    rows, distinct = pd.factorize(cells)
    known = _known(field)
    result: list[str] = []
    for position, text in enumerate(distinct):
        value, separators = _value(str(text), field, known)
        for separator in separators:
            seen.setdefault(separator, field.name)
        if len(seen) > 1:
            place.refuse(
                "values are joined by semicolons in some cells of the file and by spaces in others",
                "Export the whole file in one serialisation.",
                row=int((rows == position).argmax()) + 1,
                column=field.name,
            )
        result.append(value)
    return np.array(result, object)[rows]


def _value(text: str, field: Field, known: Callable[[str], str | None]) -> tuple[str, str]:
    """One cell in system names, and the separators it uses."""
    whole = known(text)
    if whole or not text.strip() or not field.multi:
        return whole or text, ""
    if ";" in text:
        parts, found, inner = text.split(";"), [], ""
        longest = 1 + max((code.label.count(";") for code in field.codes), default=0)
        while parts:
            # Some labels hold a semicolon themselves, so the longest run of parts that is a value is one.
            for end in range(min(len(parts), longest), 0, -1):
                if value := known(";".join(parts[:end])):
                    found.append(value)
                    parts = parts[end:]
                    break
            else:
                part = parts.pop(0)
                inner = " " if _spaced(part, field, known) else inner
                if part.strip():
                    return text, ";" + inner
        return ";".join(found), ";"
    spaced = _spaced(text, field, known)
    return (";".join(spaced), " ") if spaced else (text, "")


def _spaced(text: str, field: Field, known: Callable[[str], str | None]) -> list[str]:
    """The values of a cell that is nothing but system names (or codes of countries) with spaces between, else none."""
    tokens = text.split()
    values = [known(token) for token in tokens if field.codes or (token.isupper() and len(token) < 4)]
    return [value for value in values if value] if len(tokens) > 1 and len(values) == len(tokens) and all(values) else []


def _known(field: Field) -> Callable[[str], str | None]:
    """How a value is recognised: a country by code or name, an entry of a pick list by system name, label or definition."""
    if field.role == "citizenship":
        return cache(lambda text: countries().alpha3(text, system="any"))
    spellings = {_spelling(text): code.code for code in field.codes for text in (code.label, code.code)}
    spellings |= {f"methodsofcontrol{spelling}": code for spelling, code in spellings.items()}
    if "yes" in spellings:
        spellings |= {"1": "TRUE", "0": "FALSE"}
    return cache(lambda text: spellings.get(_spelling(text)))


def _exploitation_country(table: dict[str, np.ndarray], size: int) -> np.ndarray:
    blank = np.full(size, "", object)
    event = np.where(table.get("hte_Type", blank) == "Exploitation", table.get("hte_Country", blank), "")
    rows, places = pd.factorize(table.get("vic_LocationOfExploitation", blank))
    # Two letters are as likely a place within a country: LA, CA.
    known = [
        countries().alpha3(place, system="iso3") or countries().alpha3(place, system="name") or "" for place in map(str, places)
    ]
    found = np.array(known, object)[rows] if size else blank
    return np.where(event != "", event, found)


def _spelling(text: str) -> str:
    """One spelling for names, labels and values that differ in case, spaces, underscores or punctuation."""
    return re.sub(r"[\W_]+", "", text).casefold()


LAYOUT = Layout(
    title="HTCDS 2.0 case export",
    file_pattern="*",
    fields=(Field(CASE, role="case_id", filled=True), *_CASES),
    format="xlsx",
    date_formats=("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y"),
    countries="any",
    cells=_cells,
)
"""HTCDS on its own, with a number for the case; ``as_source`` fits it to a source."""

_FIELDS = {_spelling(field.name): field.name for field in LAYOUT.fields} | {
    "victraffickinstatusdecisionmakingorg": "vic_TraffickingStatusDecisionMakingOrg"
}
"""System names by their spelling, which XLSForm's share, and the misspelt one of the form."""
LABELS = {field.name: field.note for field in _CASES if field.note}
"""Labels of the standard by system name, where one label belongs to one field."""
_LABELS = {_spelling(label): name for name, label in LABELS.items()}
