"""Whether a release is what it says: checked from its public folder alone, and against the sensitive records where one has them.

Independent on purpose: it imports nothing that makes, counts, proves or writes a release, and knows from the codebook and the
documentation only what a release must be. It works on folders that anybody may have changed, so nothing in them is taken for
granted, and its report names files, columns and counts, never a cell.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from ctdc_pipeline import proof, signature
from ctdc_pipeline.codebook import codebook
from ctdc_pipeline.errors import ReleaseError, TableError
from ctdc_pipeline.files import read_parquet
from ctdc_pipeline.verification import (
    AGGREGATES,
    BESIDE,
    CHANGES,
    CODEBOOK,
    DELIMITERS,
    DICTIONARY,
    MANIFEST,
    NEEDED,
    PROOFS,
    PUBLICATION,
    RECORDS,
    REPORT,
    TOMBSTONE,
    UNREADABLE,
    Aggregates,
    Contents,
    Findings,
    Report,
    code_lists,
    numbers,
    read_json,
    read_stata,
    read_text_table,
    read_workbook,
)
from ctdc_pipeline.verify_products import check_products, prove_products
from ctdc_pipeline.verify_report import check_report

_ORIGINS = {"partner", "source", "refresh", "source_file", "source_row", "case_key"}

_IDENTIFYING = re.compile(
    r"(^|_)(id|ids|uuid|case|caseid|victim|victimid|hash|pseudonym|surname|birth|birthdate|dob|date|day|month|partner)(_|$)"
)

_HASH = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{64}(?![0-9A-Za-z])")

_RUN = b"0" * 64
_HEXADECIMAL = bytes.maketrans(b"123456789abcdef", b"0" * 15)

_TEXTS = {".csv", ".tsv", ".json", ".geojson", ".md", ".html", ".txt"}


def verify(folder: Path, *, sensitive: Path | None = None, public_key: Path | None = None) -> Report:
    """Check the release in ``folder``; ``sensitive`` is a table of the records it was made from, ``public_key`` a PEM file.

    Raises ReleaseError for what is no folder, TableError for sensitive records that cannot be read, and ParameterError for
    what is no key: these are about the question, everything about the release is in the report.
    """
    if not folder.is_dir():
        raise ReleaseError(f"{folder.name} is no folder", remedy="Give the folder of one release, which holds a manifest.json.")
    records = _sensitive(sensitive) if sensitive else None  # before the work, for it is most likely to be mistyped
    findings = Findings()
    manifest = _manifest(folder, findings)
    if manifest is None:
        return Report(folder.name, None, None, findings.checks())
    lists = code_lists(last_year=manifest["last_year"])
    contents = Contents(folder, manifest, proof.Numbering(lists), findings)
    _files(contents)
    _signature(contents, public_key)
    _publication(contents)
    _texts(contents)
    codes = _records(contents)
    aggregates = _aggregates(contents)
    if codes is not None and aggregates is not None:
        _agree(contents, codes, aggregates)
    _figures(contents, codes, aggregates)
    _dictionary(contents)
    _tables(contents)
    check_products(contents, codes, aggregates)
    check_report(contents, codes, aggregates)
    if records is not None:
        _prove(contents, records, codes, aggregates)
    else:
        for name in PROOFS:
            findings.note(name, "needs the sensitive records")
    return Report(folder.name, manifest["version"], contents.k, findings.checks())


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
        said: Any = read_json(folder / MANIFEST)
    except FileNotFoundError:
        findings.require("manifest", False, f"there is no {MANIFEST}: this is no release, or not all of it")
        return None
    except UNREADABLE as error:
        findings.require("manifest", False, f"{MANIFEST} is not JSON in UTF-8 ({type(error).__name__})")
        return None
    said = said if isinstance(said, dict) else {}
    files = said.get("files")
    hashed = isinstance(files, dict) and all(isinstance(digest, str) and _HASH.fullmatch(digest) for digest in files.values())
    good = [
        findings.require("manifest", isinstance(said.get("version"), str), "no version"),
        findings.require("manifest", _whole(said.get("k"), least=2), "k is not a whole number of at least 2"),
        findings.require(
            "manifest", _whole(said.get("reporting_length"), least=1, most=len(codebook().names)), "no reporting length"
        ),
        findings.require("manifest", _whole(said.get("last_year"), least=codebook().first_year, most=9999), "no last year"),
        findings.require("manifest", isinstance(said.get("rows"), dict), "no numbers of rows"),
        findings.require("manifest", hashed, "no list of files with their SHA-256"),
        findings.require("manifest", all(map(_within, files if isinstance(files, dict) else ())), "a file outside the folder"),
    ]
    if not all(good):
        return None
    findings.require("version", said["version"] == folder.resolve().name, "the folder's name is not the version")
    return said


def _whole(number: object, *, least: int, most: int = 2**31) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most


def _within(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and str(path) == name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(contents: Contents) -> None:
    findings, listed = contents.findings, contents.manifest["files"]
    there = {path.relative_to(contents.folder).as_posix(): path for path in sorted(contents.folder.rglob("*"))}
    links = [name for name, path in there.items() if path.is_symlink()]
    findings.require("files", not links, f"links instead of files: {', '.join(links)}")
    there = {name: path for name, path in there.items() if not path.is_dir()}
    for name in sorted((listed.keys() | there.keys() | set(NEEDED)) - BESIDE):
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
    manifest = contents.folder / MANIFEST
    signed = manifest.with_name(MANIFEST + signature.SUFFIX)
    if public_key is None:
        there = "there is a signature; give the publisher's public key" if signed.exists() else "there is none"
        contents.findings.note("signature", there)
    elif contents.findings.require("signature", signed.is_file(), "there is no signature"):
        valid = signature.check(manifest, signed, public_key)
        contents.findings.require("signature", valid, "the signature is not of this manifest, or not by this key")


def _publication(contents: Contents) -> None:
    if not (contents.folder / PUBLICATION).exists():
        contents.findings.note("publication", "there is none: this is a candidate")
    elif (said := contents.read(PUBLICATION, read_json)) is not None:
        own = {"version": contents.manifest["version"], "candidate": _sha256(contents.folder / MANIFEST)}
        about = isinstance(said, dict) and all(said.get(name) == value for name, value in own.items())
        contents.findings.require("publication", about, f"{PUBLICATION} is about another release or manifest")


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


def _records(contents: Contents) -> proof.Codes | None:
    """Check the records and all their copies; their attributes come back."""
    findings, k = contents.findings, contents.k
    codes = _copies(contents)
    if codes is None:
        return None
    rows = contents.manifest["rows"].get(RECORDS)
    findings.require("rows", len(codes) == rows, f"the records: {len(codes):,}, where the manifest says otherwise")
    empty = int((codes == proof.MISSING).all(axis=1).sum())
    findings.require("empty records", not empty, f"{empty} records hold no value")
    counts = proof.counts(codes, size=contents.numbering.size)
    odd = int((counts % k != 0).sum())
    findings.require("multiples of k", not odd, f"{odd} attributes of {int((counts > 0).sum())} have another count")
    findings.note("multiples of k", f"{int((counts > 0).sum())} attributes, k = {k}")
    return codes


def _copies(contents: Contents) -> proof.Codes | None:
    """Check that all copies of the records are the same ones; the attributes of the first copy that can be read."""
    findings, names = contents.findings, list(codebook().names)
    slow = {".xlsx": read_workbook, ".dta": read_stata}
    there = [name for name in sorted(contents.manifest["files"]) if PurePosixPath(name).stem == RECORDS]
    there = {name: PurePosixPath(name).suffix for name in there if (contents.folder / name).is_file()}
    first = codes = None
    copies = 0
    with ThreadPoolExecutor() as threads:
        reading = {name: threads.submit(slow[form], contents.folder / name) for name, form in there.items() if form in slow}
        for name in there:
            own = reading.get(name)
            table = contents.read(name, lambda _, own=own: own.result()) if own else contents.table(name)
            if table is None:
                continue
            text = all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in table.schema.types)
            findings.require("columns", text, f"{name}: not all columns are text")
            same = table.column_names == names
            if not findings.require("columns", same, f"{name}: not the variables of the codebook in their order") or not text:
                continue
            copies += 1
            table = table.cast(pa.schema([(column, pa.string()) for column in names]))
            if first is not None and findings.require("copies", table.equals(first), f"{name}: other records than another copy"):
                continue
            numbered = contents.numbering.codes(table)
            for place, variable in enumerate(names):
                unlisted = int((numbered[:, place] == proof.UNLISTED).sum())
                findings.require("code lists", not unlisted, f"{name}: {unlisted} values of {variable} are in no list")
            if first is None:
                first, codes = table, numbered
    findings.note("copies", f"{copies} copies")
    return codes


def _aggregates(contents: Contents) -> Aggregates | None:
    """Check the aggregates by themselves."""
    findings, length, k, numbering = contents.findings, contents.length, contents.k, contents.numbering
    names = ["length", *(f"{part}_{place}" for place in range(1, length + 1) for part in ("variable", "value")), "count"]
    if not (contents.folder / AGGREGATES).is_file() or (table := contents.table(AGGREGATES)) is None:
        return None
    if not findings.require("aggregates", table.column_names == names, "not the columns of aggregates of this reporting length"):
        return None
    lengths, counts = (numbers(table[name]) for name in ("length", "count"))
    if lengths is None or counts is None:
        findings.require("aggregates", False, "lengths or counts that are no numbers")
        return None
    sets = np.empty((len(table), length), np.int32)
    for place in range(length):
        sets[:, place] = numbering.number(table[f"variable_{place + 1}"], table[f"value_{place + 1}"])
    unlisted = int((sets == proof.UNLISTED).any(axis=1).sum())
    findings.require("code lists", not unlisted, f"{AGGREGATES}: {unlisted} combinations with a variable or value in no list")
    rows = contents.manifest["rows"].get("reportable_aggregates")
    findings.require("rows", len(table) == rows, f"{AGGREGATES}: {len(table):,}, where the manifest says otherwise")
    rare, odd = int((counts < k).sum()), int((counts % k != 0).sum())
    findings.require("aggregate counts", not rare, f"{rare} aggregates are below k")
    findings.require("aggregate counts", not odd, f"{odd} aggregates are no multiples of k")
    findings.note("aggregate counts", f"{len(table):,} aggregates")
    filled = (sets != proof.MISSING).cumprod(axis=1).sum(axis=1)
    told = (filled == (sets != proof.MISSING).sum(axis=1)) & (filled == lengths) & (filled > 0)
    columns = np.where(sets >= 0, numbering.column[sets], len(numbering.lists) + np.arange(length))
    ordered = (np.diff(columns, axis=1) > 0).all(axis=1)
    wrong = int((~(told & ordered)).sum())
    findings.require("aggregates", not wrong, f"{wrong} are not combinations of their length, in the order of the variables")
    if unlisted or wrong:
        return None
    found = Aggregates()
    by_size = [(size, np.flatnonzero(lengths == size)) for size in range(1, min(length, numbering.longest) + 1)]
    for size, rows in by_size:
        keys = numbering.keys(sets[rows, :size])
        order = np.argsort(keys, kind="stable")
        repeated = int((np.diff(keys[order]) == 0).sum())
        findings.require("aggregates", not repeated, f"{repeated} combinations of length {size} are told twice")
        found.sets[size], found.keys[size], found.counts[size] = sets[rows, :size][order], keys[order], counts[rows][order]
    if length > numbering.longest:
        findings.note("aggregates add up", f"up to length {numbering.longest}")
    _add_up(contents, found)
    return found


def _add_up(contents: Contents, found: Aggregates) -> None:
    """Leaving out one attribute gives a reported combination at least as frequent as all that differ in its value together.

    Of counts rounded down: a record has one value of a variable, so the true counts of all values add up to less than the next
    multiple of k above the whole's.
    """
    numbering = contents.numbering
    for size in sorted(found.sets)[1:]:
        for place in range(size):
            part = numbering.keys(np.delete(found.sets[size], place, axis=1))
            whole = proof.place_of(part, among=found.keys[size - 1])
            absent = int((whole < 0).sum())
            contents.findings.require(
                "aggregates add up", not absent, f"{absent} combinations of length {size} have parts that are not reported"
            )
            group = whole * len(numbering.lists) + numbering.column[found.sets[size][:, place]]
            order = np.argsort(group, kind="stable")
            starts = np.flatnonzero(np.diff(group[order], prepend=-len(numbering.lists) - 1))
            if not len(starts):
                continue
            sums = np.add.reduceat(found.counts[size][order], starts)
            known = whole[order][starts] >= 0
            more = int((sums > found.counts[size - 1][whole[order][starts]])[known].sum())
            contents.findings.require(
                "aggregates add up",
                not more,
                f"{more} combinations of length {size - 1} are less frequent than what they are part of",
            )
    contents.findings.require("aggregates add up", True, "")


def _agree(contents: Contents, codes: proof.Codes, found: Aggregates) -> None:
    """Check the records against the aggregates."""
    findings, numbering = contents.findings, contents.numbering
    reported = np.zeros(numbering.size, np.int64)
    reported[found.keys[1]] = found.counts[1]
    differing = int((reported != proof.counts(codes, size=numbering.size)).sum())
    findings.require("single counts", not differing, f"{differing} attributes have other counts in the records")
    found.held.update({size: np.zeros(len(counts), np.int64) for size, counts in found.counts.items()})
    found.held[1] += proof.counts(codes, size=numbering.size)[found.keys[1]]
    absent: dict[int, int] = Counter()
    pairs = np.zeros((numbering.size, numbering.size), np.bool_)
    if 2 in found.sets:
        pairs[found.sets[2][:, 0], found.sets[2][:, 1]] = True
    for size, keys in proof.combinations(codes, numbering=numbering, length=max(found.sets), pairs=pairs):
        held, times = proof.tally(keys)
        place = proof.place_of(held, among=found.keys[size])
        found.held[size][place[place >= 0]] = times[place >= 0]
        absent[size] += int((place < 0).sum())
    for size, number in absent.items():
        findings.require("reported combinations", not number, f"{number} combinations of length {size} are not reported")
    findings.require("reported combinations", True, "")
    known = sum(int((times > 0).sum()) for size, times in found.held.items() if size > 1)
    findings.note("reported combinations", f"{known:,} combinations of length 2 to {max(found.sets)}")


def _figures(contents: Contents, codes: proof.Codes | None, aggregates: Aggregates | None) -> None:
    """Check what the manifest tells of the data, and that it tells no exact figure of sensitive records."""
    findings, said = contents.findings, contents.manifest
    told: Any = said.get("proof")
    if not findings.require("manifest figures", isinstance(told, dict), "the manifest tells of no proof"):
        return
    exact = {"smallest_support", "sensitive_records", "attributes"} & told.keys()
    findings.require("manifest figures", not exact, f"exact figures of sensitive records: {', '.join(sorted(exact))}")
    findings.require("manifest figures", told.get("k") == said["k"], "the proof was made with another k")
    for name in ("rare_records", "empty_records", "inexact_counts", "wrong_aggregates"):
        findings.require("manifest figures", told.get(name) == 0, f"the proof tells of {name.replace('_', ' ')}")
    if codes is not None:
        findings.require("manifest figures", told.get("synthetic_records") == len(codes), "the proof is of other records")
        distinct = len(proof.distinct(codes))
        findings.require("manifest figures", told.get("distinct_records") == distinct, "the proof is of other distinct records")
    if aggregates is not None:
        findings.require("manifest figures", told.get("aggregates") == aggregates.rows, "the proof is of other aggregates")
    suppressed: Any = said.get("suppressed_values", {})
    rounded = isinstance(suppressed, dict) and all(_whole(n, least=0) and n % contents.k == 0 for n in suppressed.values())
    findings.require("manifest figures", rounded, "suppressed values are not told in multiples of k")


def _dictionary(contents: Contents) -> None:
    """Check that the data dictionary describes the variables as the codebook does."""
    if not (contents.folder / DICTIONARY).is_file() or (table := contents.table(DICTIONARY)) is None:
        return
    wanted = {
        "position": [str(variable.position) for variable in codebook().variables],
        "name": list(codebook().names),
        "label": [variable.label for variable in codebook().variables],
        "type": [variable.kind for variable in codebook().variables],
        "values": [" | ".join(variable.values) or None for variable in codebook().variables],
        "definition": [variable.definition for variable in codebook().variables],
    }
    for column, cells in wanted.items():
        same = column in table.column_names and table[column].to_pylist() == cells
        contents.findings.require("data dictionary", same, f"{DICTIONARY}: {column} is not the codebook's")


def _tables(contents: Contents) -> None:
    """Check every table there is, known or not, for columns that must not be public and for values in no list."""
    findings, lists = contents.findings, contents.numbering.lists
    details = {variable.name for variable in codebook().details}
    for name in sorted(contents.manifest["files"]):
        path = PurePosixPath(name)
        if path.suffix not in (*DELIMITERS, ".parquet") or not (contents.folder / name).is_file():
            continue
        if (table := contents.table(name)) is None:
            continue
        bad = [
            column
            for column in table.column_names
            if column in _ORIGINS | details or (column not in lists and _IDENTIFYING.search(_snake(column)))
        ]
        findings.require("forbidden columns", not bad, f"{name}: {', '.join(bad)}")
        if path.stem != RECORDS:
            for column in set(table.column_names) & set(lists):
                unlisted = len(set(map(str, table[column].unique().drop_null().to_pylist())) - set(lists[column]))
                findings.require("code lists", not unlisted, f"{name}: {unlisted} values of {column} are in no list")


def _snake(name: str) -> str:
    """``CaseId``, ``case-id`` and ``case id`` as ``case_id``."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _prove(contents: Contents, table: pa.Table, codes: proof.Codes | None, aggregates: Aggregates | None) -> None:
    """Check against the sensitive records: support at any length, exact counts, and all the aggregates."""
    findings, numbering, k = contents.findings, contents.numbering, contents.k
    sensitive = numbering.codes(table)
    unlisted = int((sensitive == proof.UNLISTED).any(axis=1).sum())
    single = proof.counts(sensitive, size=numbering.size)
    findings.require("exact counts", not unlisted, f"{unlisted} sensitive records hold values in no list: not what was released")
    if codes is not None:
        distinct = proof.distinct(codes)
        rare = int((proof.supports(sensitive, distinct, numbering=numbering) < k).sum())
        findings.require("support", not rare, f"{rare} of {len(distinct):,} distinct records have less")
        findings.note("support", f"{len(distinct):,} distinct records in {len(sensitive):,} sensitive ones, k = {k}")
        inexact = int((proof.counts(codes, size=numbering.size) != single // k * k).sum())
        findings.require("exact counts", not inexact, f"{inexact} attributes have another count")
    prove_products(contents, sensitive)
    if aggregates is None:
        return
    common = proof.common(sensitive, numbering=numbering, length=max(aggregates.sets), k=k)
    for size, (keys, counts) in common.items():
        place = proof.place_of(keys, among=aggregates.keys[size])
        absent, more = int((place < 0).sum()), int((proof.place_of(aggregates.keys[size], among=keys) < 0).sum())
        wrong = int((aggregates.counts[size][place] != counts // k * k)[place >= 0].sum()) if len(aggregates.keys[size]) else 0
        for number, problem in (
            (absent, "are common and not reported"),
            (more, "are rare and reported"),
            (wrong, "are miscounted"),
        ):
            findings.require("exact aggregates", not number, f"{number} combinations of length {size} {problem}")
    findings.note("exact aggregates", f"{sum(len(keys) for keys, _ in common.values()):,} combinations")
