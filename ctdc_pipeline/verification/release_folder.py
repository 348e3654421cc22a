"""Whether a release is what it says: checked from its public folder alone, and against the sensitive records where one has them.

Independent on purpose: it imports nothing that makes, counts, proves or writes a release, and knows from the codebook and the
documentation only what a release must be. It works on folders that anybody may have changed, so nothing in them is taken for
granted, and its report names files, columns and counts, never a cell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import ReleaseError, TableError
from ctdc_pipeline.storage import approval, signature
from ctdc_pipeline.storage.files import parquet_sha256, read_parquet
from ctdc_pipeline.verification import recount
from ctdc_pipeline.verification.bounds import check_bounds
from ctdc_pipeline.verification.checks import (
    BESIDE,
    CHANGES,
    CODEBOOK,
    MANIFEST,
    NEEDED,
    PROOFS,
    PUBLICATION,
    RECORDS,
    REPORT,
    TOMBSTONE,
    Contents,
    Findings,
    Report,
    code_lists,
)
from ctdc_pipeline.verification.closed_files import check_files, check_pages, plain, unread
from ctdc_pipeline.verification.private_release import FILES, PRIVATE_CHECKS, check_private, says_enough
from ctdc_pipeline.verification.products import all_people, check_products
from ctdc_pipeline.verification.quality_report import check_report
from ctdc_pipeline.verification.readers import (
    DELIMITERS,
    UNREADABLE,
    read_json,
    read_text_table,
    whole_number,
)
from ctdc_pipeline.verification.records import (
    check_aggregates,
    check_agree,
    check_dictionary,
    check_figures,
    check_prove,
    check_records,
    check_tables,
)
from ctdc_pipeline.verification.showcase_page import check_showcase

_INPUTS = (
    ("harmonised", "victims"),
    ("harmonised", "deliveries"),
    ("harmonised", "suppressed"),
    ("synthetic", "records"),
    ("counts", "reportable_aggregates"),
)
"""The tables of the sensitive zone that the manifest's ``inputs`` is the hash of."""


LATER = ("manifest figures", "protected tables", "map", "k-anonymised", "report")
"""Checks of files whose columns an earlier version wrote otherwise."""

_HASH = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{64}(?![0-9A-Za-z])")

_RUN = b"0" * 64
_HEXADECIMAL = bytes.maketrans(b"123456789abcdef", b"0" * 15)

_TEXTS = {".csv", ".tsv", ".json", ".geojson", ".md", ".html", ".txt"}


def verify(
    folder: Path, *, sensitive: Path | None = None, public_key: Path | None = None, approvers: Path | None = None
) -> Report:
    """Check whether a release is what it claims to be.

    Errors are about the question. Everything about the release is in the report.

    Args:
        folder: the folder of the release.
        sensitive: a table of the records it was made from; without it three proofs are not made.
        public_key: a PEM file with the publisher's Ed25519 key; without it the signature is not checked.
        approvers: a folder of the approvers' public keys, ``<name>.pem``.

    Raises:
        ReleaseError: ``folder`` is no folder.
        TableError: the sensitive records cannot be read.
        ParameterError: a file of a key holds none.
    """
    if not folder.is_dir():
        raise ReleaseError(f"{folder.name} is no folder", remedy="Give the folder of one release, which holds a manifest.json.")
    records = _sensitive(sensitive) if sensitive else None  # before the work, for it is most likely to be mistyped
    findings = Findings()
    manifest = _manifest(folder, findings) if plain(folder, findings) else None
    if manifest is None:
        return Report(folder.name, None, None, findings.checks())
    lists = code_lists(last_year=manifest["last_year"])
    contents = Contents(folder, manifest, recount.Numbering(lists), findings)
    private = is_private(manifest)
    _files(contents, needed=FILES if private else NEEDED)
    _signature(contents, public_key)
    try:
        _beside(contents, approvers)
        check_private(contents) if private else _look(contents, records, sensitive)
    except UNREADABLE as error:  # in a description that no check foresaw; it fails, for not everything was looked at
        findings.require(
            "readable", False, f"a check could not be finished ({type(error).__name__}): something is of another kind"
        )
    invented = manifest.get("invented") is True
    k = None if private else contents.k
    return Report(folder.name, manifest["version"], k, findings.checks(), unread(contents), invented)


def _earlier(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest is of a version that named no core variables; its tables and pages had other columns."""
    return "core" not in manifest


def is_private(manifest: Mapping[str, Any]) -> bool:
    """Whether a release is differentially private, by what its manifest says."""
    return manifest.get("series") == "dp"


def _beside(contents: Contents, approvers: Path | None) -> None:
    """What any release must hold of publication, approvals and texts."""
    _publication(contents)
    _approvals(contents, approvers)
    _texts(contents)


def _look(contents: Contents, records: pa.Table | None, sensitive: Path | None) -> None:
    """All checks that look into the files of a k-synthetic release."""
    findings, earlier = contents.findings, _earlier(contents.manifest)
    codes = check_records(contents)
    check_files(contents)
    if not earlier:
        check_pages(contents)
    aggregates = check_aggregates(contents)
    if aggregates is not None and not findings.problems["aggregates add up"]:
        check_bounds(contents, aggregates, people=all_people(contents))
    if codes is not None and aggregates is not None:
        check_agree(contents, codes, aggregates)
    check_dictionary(contents)
    if earlier:
        # It fails, so that nobody gets rid of these checks by taking the mark out of a manifest.
        findings.require("version", False, "made by an earlier version of this software, of which only the data are checked here")
        for name in ("pages", *LATER):
            findings.note(name, "verify this with the version that made the release")
    else:
        check_figures(contents, codes, aggregates)
        check_tables(contents)
        check_products(contents, codes, aggregates)
        check_report(contents, codes, aggregates)
        check_showcase(contents, codes, aggregates)
    if records is None or sensitive is None:
        for name in ("inputs", *PROOFS):
            findings.note(name, "needs the sensitive records")
    elif _same_inputs(contents, sensitive):
        check_prove(contents, records, codes, aggregates)
    else:
        for name in PROOFS:
            findings.note(name, "these are other records than it was made from")


def _same_inputs(contents: Contents, sensitive: Path) -> bool:
    """Whether the tables beside the ``sensitive`` records are those of the manifest's one hash; True if they are not there."""
    zone = sensitive.resolve().parent.parent
    tables = [(f"{stage}/{name}", zone / stage / f"{name}.parquet") for stage, name in _INPUTS]
    if sensitive.name != "victims.parquet" or not all(path.is_file() for _, path in tables):
        contents.findings.note(
            "inputs",
            "the other tables that it was made from are not beside these records: a proof that fails"
            " may only mean that these are other records",
        )
        return True
    lines = "".join(f"{parquet_sha256(path)}  {name}\n" for name, path in tables)
    same = hashlib.sha256(lines.encode()).hexdigest() == contents.manifest.get("inputs")
    return contents.findings.require("inputs", same, "the manifest names other tables by its SHA-256")


def _sensitive(path: Path) -> pa.Table:
    """The release variables of the sensitive records, as text."""
    try:
        if path.suffix == ".parquet":
            return read_parquet(path, columns=list(codebook().names))
        return read_text_table(path).select(list(codebook().names))
    except UNREADABLE as error:
        raise TableError(
            f"{path.name}: the sensitive records cannot be read ({type(error).__name__})",
            remedy="Give harmonised/victims.parquet of the sensitive zone, or a .csv, .tsv or .parquet file of the variables.",
        ) from None


def _manifest(folder: Path, findings: Findings) -> dict[str, Any] | None:
    """The manifest, if it says what the other checks need."""
    if (folder / TOMBSTONE).exists():
        findings.require("manifest", False, f"the release was withdrawn; {TOMBSTONE} says why")
        return None
    try:
        manifest: Any = read_json(folder / MANIFEST)
    except FileNotFoundError:
        findings.require("manifest", False, f"there is no {MANIFEST}: this is no release, or not all of it")
        return None
    except UNREADABLE as error:
        findings.require("manifest", False, f"{MANIFEST} is not JSON in UTF-8 ({type(error).__name__})")
        return None
    manifest = manifest if isinstance(manifest, dict) else {}
    files = manifest.get("files")
    hashed = isinstance(files, dict) and all(isinstance(digest, str) and _HASH.fullmatch(digest) for digest in files.values())
    good = [
        findings.require("manifest", isinstance(manifest.get("version"), str), "no version"),
        findings.require("manifest", hashed, "no list of files with their SHA-256"),
        findings.require("manifest", all(map(_within, files if isinstance(files, dict) else ())), "a file outside the folder"),
    ]
    if is_private(manifest):
        findings.about = PRIVATE_CHECKS
        good.append(says_enough(manifest, findings))
    else:
        good.append(_says_enough(manifest, findings))
    if not all(good):
        return None
    findings.require("version", manifest["version"] == folder.resolve().name, "the folder's name is not the version")
    return manifest


def _says_enough(manifest: Mapping[str, Any], findings: Findings) -> bool:
    """Whether the manifest of a k-synthetic release says what the checks need."""
    needed = {
        "k is not a whole number of at least 2": whole_number(manifest.get("k"), least=2),
        "no reporting length": whole_number(manifest.get("reporting_length"), least=1, most=len(codebook().names)),
        "no last year": whole_number(manifest.get("last_year"), least=codebook().first_year, most=9999),
        "no list of core variables of the codebook": _earlier(manifest) or _variables(manifest.get("core")),
        "no numbers of rows": isinstance(manifest.get("rows"), dict),
    }
    held = [findings.require("manifest", holds, problem) for problem, holds in needed.items()]
    return all(held)


def _variables(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and name in codebook().names for name in names)


def _within(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and str(path) == name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(contents: Contents, *, needed: Sequence[str]) -> None:
    findings, listed = contents.findings, contents.manifest["files"]
    there = {path.relative_to(contents.folder).as_posix(): path for path in sorted(contents.folder.rglob("*"))}
    links = [name for name, path in there.items() if path.is_symlink()]
    findings.require("files", not links, f"links instead of files: {', '.join(links)}")
    there = {name: path for name, path in there.items() if not path.is_dir()}
    for name in sorted((listed.keys() | there.keys() | set(needed)) - BESIDE):
        if not findings.require("files", name in there, f"{name}: missing"):
            continue
        if findings.require("files", name in listed, f"{name}: not in the manifest"):
            findings.require("checksums", _sha256(there[name]) == listed[name], f"{name}: changed")
    findings.note("checksums", f"{len(listed)} files")
    unknown = [name for name in sorted(listed) if not _known(PurePosixPath(name))]
    if unknown:
        findings.note("checksums", f"no further check of {', '.join(unknown)}")


def _known(path: PurePosixPath) -> bool:
    """Whether more of a file is checked than its hash and that it holds no pseudonym."""
    return (
        path.suffix in {*DELIMITERS, ".parquet", ".json", ".geojson"}
        or path.stem == RECORDS
        or path.name in (CODEBOOK, REPORT, CHANGES)
    )


def _signature(contents: Contents, public_key: Path | None) -> None:
    """The signature of the publication, which names the manifest; of a release before that, of the manifest alone."""
    manifest, publication = (contents.folder / name for name in (MANIFEST, PUBLICATION))
    signed = publication.with_name(PUBLICATION + signature.SUFFIX)
    of = publication
    if not signed.is_file() and (before := manifest.with_name(MANIFEST + signature.SUFFIX)).is_file():
        signed, of = before, manifest
    if public_key is None:
        there = "there is a signature; give the publisher's public key" if signed.exists() else "there is none"
        contents.findings.note("signature", there)
    elif contents.findings.require("signature", signed.is_file() and of.is_file(), "there is no signature"):
        valid = signature.check(of, signed, public_key)
        contents.findings.require("signature", valid, "the signature is not of these files, or not by this key")
        if of == manifest:
            contents.findings.note("signature", "of the manifest only: approver, reason and time are not covered")


def _publication(contents: Contents) -> None:
    if not (contents.folder / PUBLICATION).exists():
        contents.findings.note("publication", "there is none: this is a candidate")
    elif (publication := contents.read(PUBLICATION, read_json)) is not None:
        own = {"version": contents.manifest["version"], "candidate": _sha256(contents.folder / MANIFEST)}
        about = isinstance(publication, dict) and all(publication.get(name) == value for name, value in own.items())
        contents.findings.require("publication", about, f"{PUBLICATION} is about another release or manifest")


def _approvals(contents: Contents, approvers: Path | None) -> None:
    trusted = approval.read_approvers(approvers) if approvers else None
    digest, findings = _sha256(contents.folder / MANIFEST), contents.findings
    wrong = approval.problems(contents.folder, digest=digest, trusted=trusted)
    if findings.require("approvals", not wrong, "; ".join(wrong)):
        path = contents.folder / approval.APPROVALS
        if not path.exists():
            findings.note("approvals", "nobody signed")
            return
        signed = approval.read(path)
        whose = "" if trusted is not None else "; give the approvers' public keys, for anybody can make a key"
        findings.note("approvals", f"signed by {', '.join(signed)}{whose}")
        publication = contents.read(PUBLICATION, read_json) if (contents.folder / PUBLICATION).exists() else None
        named = not isinstance(publication, dict) or publication.get("approver") in signed
        findings.require("approvals", named, f"the approver in {PUBLICATION} did not sign")


def _texts(contents: Contents) -> None:
    """No pseudonym of a case, which is a SHA-256, in any text; those of files and of deliveries are known."""
    known = set(_HASH.findall((contents.folder / MANIFEST).read_text(encoding="utf-8")))
    for name in contents.manifest["files"]:
        path = contents.folder / name
        if path.suffix in _TEXTS and path.is_file():
            content = path.read_bytes()
            long = _RUN in content.translate(_HEXADECIMAL)  # most texts hold none, and looking for one is slow
            unknown = set(_HASH.findall(content.decode(errors="replace"))) - known if long else ()
            contents.findings.require("pseudonyms", not unknown, f"{name}: {len(unknown)} hashes that nothing explains")
