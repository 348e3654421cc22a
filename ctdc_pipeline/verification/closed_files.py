"""The checks that close a release: what may lie in its folder, and what each kind of file may hold.

Most formats have room for what no program shows: properties, comments, metadata, unused lists of values. Wherever a format lets
the same table be written in one way, the file is compared with that; where it does not, what it may hold is listed.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from xlsxwriter import Workbook

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.codebook.variables import Variable, codebook
from ctdc_pipeline.operations import installation
from ctdc_pipeline.storage.signature import SUFFIX
from ctdc_pipeline.verification.checks import BESIDE, CODEBOOK, FILES, PUBLICATION, RECORDS, Contents, Findings
from ctdc_pipeline.verification.readers import DELIMITERS, read_json

LARGEST = {".csv": 1 << 29, ".tsv": 1 << 29, ".parquet": 1 << 29, ".xlsx": 1 << 29, ".dta": 1 << 29}
LARGEST_OTHER = 1 << 26
MOST_ENTRIES = 200
MOST_UNPACKED, SMALL, DENSEST = 1 << 31, 1 << 24, 200
"""Bytes of a file by its kind, entries of a folder, and bytes that a workbook may unpack to: never so many, and, unless they are
few, not so many times its size."""

INVENTED = "INVENTED DATA"
NOTICE = "Invented data: the people in this release do not exist. It demonstrates the software. Do not use, publish or cite it."
"""What titles, a sheet and descriptions say of a release that is made from samples."""

_MANIFEST_KEYS = {
    *("version", "software", "codebook", "k", "reporting_length", "last_year", "core", "rows", "proof", "previous", "inputs"),
    *("deliveries", "suppressed_values", "files", "invented", "withheld"),
}
_PROOF_KEYS = {
    *("k", "synthetic_records", "distinct_records", "rare_records", "empty_records", "inexact_counts", "aggregates"),
    *("wrong_aggregates", "homogeneous_percent"),
}
_PUBLICATION_KEYS = {"version", "approver", "reason", "candidate", "published", "acknowledged_warnings"}
_PACKAGE_KEYS = {
    *("$schema", "name", "title", "version", "description", "homepage", "licenses", "contributors", "citation", "resources"),
    "keywords",
}
_RESOURCE_KEYS = {
    *("$schema", "name", "path", "title", "format", "mediatype", "bytes", "hash", "type", "schema", "encoding", "dialect"),
}
_SCHEMA_KEYS = {"$schema", "fields", "missingValues"}
_FIELD_KEYS = {"name", "title", "description", "type", "constraints"}
_SHAPES_KEYS = {"type", "by", "note", "shapes", "features"}
_FEATURE_KEYS = {"type", "id", "geometry", "properties"}
_PROPERTY_KEYS = {"iso3", "name", "count", "profile"}
_DELIVERY_KEYS = {"partner", "state", "latest_refresh", "stopped", "content"}
_DISCLAIMER = (
    "Counts reflect where contributing organisations work and whom they reach: detection, not prevalence. They do not measure how"
    " much trafficking there is, and do not compare countries."
)
DELIVERY_STATES = ("new", "carried forward", "missing")
_SIGNATURE_BYTES = 64
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[\d.]{1,20}", re.ASCII)
_SOFTWARE = re.compile(
    r"\d{1,4}(\.\d{1,6}){0,3}((a|b|rc)\d{1,3})?(\.(post|dev)\d{1,6})*(\+(unknown|g[0-9a-f]{7,16}(\.dirty|\.d\d{8})?))?", re.ASCII
)
"""A version of this software: numbers, and the commit outside releases."""
_VERSION = re.compile(r"\d{4}\.\d\d\.\d\d-\d{1,4}", re.ASCII)
_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,40}")
_REFRESH = re.compile(r"20\d\d(?:-(?:H[12]|Q[1-4]|\d\d(?:-\d\d)?))?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WARNING = re.compile(r"[a-z0-9_]{1,60}(?:/[a-z0-9_]{1,60}){0,3}:[a-z0-9_]{1,60}")


def plain(folder: Path, findings: Findings) -> bool:
    """Whether all in ``folder`` are plain files of a size that can be read. Nothing is opened before this is known."""
    entries = list(zip(range(MOST_ENTRIES + 1), folder.iterdir(), strict=False))
    good = findings.require("files", len(entries) <= MOST_ENTRIES, f"more than {MOST_ENTRIES} entries in the folder")
    for _, path in sorted(entries, key=lambda entry: entry[1].name):
        status = path.lstat()
        if path.is_symlink():
            good &= findings.require("files", False, f"links instead of files: {path.name}")
        elif not stat.S_ISREG(status.st_mode):
            good &= findings.require("files", False, f"{path.name}: a folder, pipe or device; remove it")
        elif status.st_size > LARGEST.get(path.suffix, LARGEST_OTHER):
            good &= findings.require("files", False, f"{path.name}: larger than such a file of a release can be; not opened")
        elif path.suffix == ".xlsx" and not _unpacks(path):
            good &= findings.require("files", False, f"{path.name}: unpacks to more than a workbook can hold, or not at all")
    return good


def _unpacks(path: Path) -> bool:
    """Whether a workbook unpacks to no more than it can hold, whatever it says of its sizes; what is no archive is told later."""
    most = min(MOST_UNPACKED, SMALL + DENSEST * path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for part in archive.infolist():
                if (part.compress_type, part.flag_bits & 1) not in ((zipfile.ZIP_DEFLATED, 0), (zipfile.ZIP_STORED, 0)):
                    return False
                if part.compress_type == zipfile.ZIP_STORED:
                    most -= part.file_size
                    continue
                file.seek(part.header_offset + 26)
                file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                unpacker, left = zlib.decompressobj(-15), part.compress_size
                while left > 0 and not unpacker.eof and most >= 0:
                    block = file.read(min(left, 1 << 16))
                    if not block:
                        return False
                    left -= len(block)
                    while block and most >= 0:
                        most -= len(unpacker.decompress(block, 1 << 20))
                        block = unpacker.unconsumed_tail
                if most < 0:
                    return False
    except (OSError, ValueError, NotImplementedError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile):
        return True
    return most >= 0


def check_files(contents: Contents) -> None:
    """Check that the folder holds the files of a release and nothing else, and each file nothing but what it is for."""
    findings = contents.findings
    unknown = sorted(set(contents.manifest["files"]) - set(FILES))
    for name in unknown:
        findings.require("known files", False, f"{name}: no file of a release")
    findings.require("known files", True, "")
    findings.require("structure", has_only(contents.manifest, _MANIFEST_KEYS), "manifest.json: more than a manifest tells")
    findings.require(
        "structure", has_only(contents.manifest.get("proof"), _PROOF_KEYS), "manifest.json: more of the proof than is told"
    )
    for part, holds in _MANIFEST_PARTS.items():
        good = part not in contents.manifest or holds(contents.manifest[part])
        findings.require("structure", good, f"manifest.json: {part} holds more than it may tell")
    check_each(contents, unknown)


def check_each(contents: Contents, unknown: Sequence[str]) -> None:
    """Check that each file, but the ``unknown``, holds nothing but what it is for."""
    findings = contents.findings
    for name in (*sorted(contents.manifest["files"]), *BESIDE):
        path = contents.folder / name
        if not path.is_file() or name in unknown:
            continue
        suffix = path.suffix
        if suffix in DELIMITERS:
            good = contents.read(name, _text)
        elif name == f"{RECORDS}.parquet":
            good = contents.read(name, lambda path: _parquet(path, contents))
        elif suffix == ".xlsx":
            good = contents.read(name, lambda path: _workbook(path, contents))
        elif suffix == ".dta":
            good = contents.read(name, lambda path: _stata(path, contents))
        elif suffix in (".json", ".geojson"):
            good = contents.read(name, lambda path: _json(path, contents))
        elif suffix == SUFFIX:
            good = path.stat().st_size == _SIGNATURE_BYTES
        else:
            continue
        if good is not None:
            findings.require("structure", good, f"{name}: holds more than its table, or is written in another way")


def has_only(content: Any, allowed: set[str]) -> bool:
    """Whether something is an object without other keys than ``allowed``."""
    return isinstance(content, dict) and content.keys() <= allowed


def _like(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, str) and pattern.fullmatch(content) is not None


def _counts(names: re.Pattern[str]) -> Callable[[Any], bool]:
    """Whether something is whole numbers by ``names``."""
    return lambda content: (
        isinstance(content, dict) and all(names.fullmatch(name) and type(n) is int for name, n in content.items())
    )


def _delivered(said: Any) -> bool:
    """What each source contributes: no more than its state, its refreshes and the hashes of what it delivered."""
    return isinstance(said, dict) and all(
        _SOURCE.fullmatch(name)
        and has_only(source, _DELIVERY_KEYS)
        and _like(_SOURCE)(source["partner"])
        and source["state"] in DELIVERY_STATES
        and (source["latest_refresh"] is None or _like(_REFRESH)(source["latest_refresh"]))
        and (source["stopped"] is None or _like(_DAY)(source["stopped"]))
        and all(_REFRESH.fullmatch(refresh) and _like(_HASH)(content) for refresh, content in source["content"].items())
        for name, source in said.items()
    )


_MANIFEST_PARTS: Mapping[str, Callable[[Any], bool]] = {
    "invented": lambda said: isinstance(said, bool),
    "software": lambda said: (
        has_only(said, {"name", "version"}) and said.get("name") == "ctdc-pipeline" and _like(_SOFTWARE)(said.get("version"))
    ),
    "codebook": _like(_NUMBER),
    "previous": lambda said: said is None or _like(_VERSION)(said),
    "inputs": _like(_HASH),
    "rows": _counts(re.compile("global_synthetic_dataset|reportable_aggregates")),
    "withheld": _counts(re.compile(r"[1-9]\d?", re.ASCII)),
    "suppressed_values": _counts(re.compile("citizenship|CountryOfExploitation")),
    "proof": _counts(re.compile(r"[a-z_]+")),
    "deliveries": _delivered,
}
"""What a part of the manifest may hold."""


def _text(path: Path) -> bool:
    """Whether a table of text is written as its cells are: no quotes but where they must be, no blank line, no mark."""
    content = path.read_bytes().decode("utf-8")
    delimiter = DELIMITERS[path.suffix]
    again = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if "\r" in content else csv.QUOTE_MINIMAL
    writer = csv.writer(again, delimiter=delimiter, lineterminator="\n", quoting=quoting)
    writer.writerows(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True))
    return again.getvalue() == content and not content.startswith("\ufeff")


def _json(path: Path, contents: Contents) -> bool:
    """Whether a description has the names that it may have, and no other."""
    content = read_json(path)
    if path.suffix == ".geojson":
        features = content["features"]
        names = {country.iso3: country.name for country in countries().rows}
        note = f"{NOTICE} {_DISCLAIMER}" if contents.manifest.get("invented") is True else _DISCLAIMER
        source = json.loads(_resource("shapes.json"))["source"]
        own = not _same_version(contents) or (content["note"], content["shapes"]) == (note, source)
        return (own and content["type"] == "FeatureCollection" and has_only(content, _SHAPES_KEYS)) and all(
            has_only(resource, _FEATURE_KEYS)
            and resource["type"] == "Feature"
            and resource["properties"]["name"] == names.get(resource["id"])
            and has_only(resource["properties"], _PROPERTY_KEYS)
            and resource["id"] == resource["properties"]["iso3"]
            and (resource["geometry"] is None or resource["geometry"].keys() == {"type", "coordinates"})
            and (resource["geometry"] is None or _only_numbers(resource["geometry"]["coordinates"]))
            and all(has_only(part, {"of", "values"}) for part in resource["properties"]["profile"].values())
            for resource in features
        )
    if path.name == PUBLICATION:
        warnings = content.get("acknowledged_warnings", [])
        texts = [*(text for name, text in content.items() if name != "acknowledged_warnings"), *warnings]
        named = isinstance(warnings, list) and all(map(_like(_WARNING), warnings))
        return named and has_only(content, _PUBLICATION_KEYS) and all(isinstance(text, str) for text in texts)
    if path.name == "datapackage.json":
        resources = content["resources"]
        schemas = [resource["schema"] for resource in resources if "schema" in resource]
        dialects = [resource["dialect"] for resource in resources if "dialect" in resource]
        fields = [field for schema in schemas for field in schema["fields"]]
        return (
            has_only(content, _PACKAGE_KEYS)
            and all(has_only(resource, _RESOURCE_KEYS) for resource in resources)
            and all(has_only(schema, _SCHEMA_KEYS) and schema.get("missingValues", [""]) == [""] for schema in schemas)
            and all(dialect in [{"delimiter": mark, "header": True} for mark in DELIMITERS.values()] for dialect in dialects)
            and all(_described(field, last_year=contents.manifest["last_year"]) for field in fields)
        )
    return True


def _only_numbers(coordinates: Any) -> bool:
    if isinstance(coordinates, list):
        return all(map(_only_numbers, coordinates))
    return isinstance(coordinates, int | float)


_KINDS = {"year": "integer", "flag": "integer"}
_FIELD_TYPES = ("string", "integer", "number")


def _described(content: Any, *, last_year: int) -> bool:
    """Whether a field of the data package is said to be what the codebook says, or only what type it is."""
    known: dict[str, Variable] = {variable.name: variable for variable in codebook().variables}
    if not has_only(content, _FIELD_KEYS) or content["name"] not in known:
        return has_only(content, {"name", "type"}) and content.get("type", "string") in _FIELD_TYPES
    variable = known[content["name"]]
    allowed: list[Any] = [1] if variable.kind == "flag" else list(variable.values)
    if variable.kind == "country":
        allowed = [country.iso3 for country in countries().rows]
    year = {"minimum": codebook().first_year, "maximum": last_year}
    wanted = {
        "name": variable.name,
        "title": variable.label,
        "description": variable.definition,
        "type": _KINDS.get(variable.kind, "string"),
        "constraints": year if variable.kind == "year" else {"enum": allowed},
    }
    return content.items() <= wanted.items()


def _parquet(path: Path, contents: Contents) -> bool:
    """Whether the file is what Parquet's own library writes of its cells: nothing between, beside, or in unused lists."""
    names = codebook().names
    file = pq.ParquetFile(path)
    beside = contents.table(f"{RECORDS}.csv")
    if file.metadata.num_rows != len(beside) or file.schema_arrow.names != list(names):
        return True  # another check tells of it
    metadata = dict(file.schema_arrow.metadata or {})
    wanted = {b"title": _title(contents).encode(), b"codebook": str(contents.manifest.get("codebook")).encode()}
    mark = metadata.pop(b"description", b"")  # only of invented data
    own = [{b"label": v.label.encode(), b"description": v.definition.encode()} for v in codebook().variables]
    marked = bool(mark) == (contents.manifest.get("invented") is True) and mark in (b"", NOTICE.encode())
    if metadata != wanted or not marked or [(field.metadata or {}) for field in file.schema_arrow] != own:
        return False
    again = pa.BufferOutputStream()
    pq.write_table(file.read(), again, compression="zstd")
    return again.getvalue().to_pybytes() == path.read_bytes()


_CELL = (
    rb'<c r="[A-Z]{1,3}\d{1,7}"(?: s="[12]")?'
    rb'(?: t="inlineStr"><is><t(?: xml:space="preserve">[^<]*+|>(?!\s)[^<]*+(?<!\s))</t></is>'
    rb"|><v>-?(?:0|[1-9]\d{0,15})(?:\.\d{0,20}[1-9])?</v>)</c>"
)
_ROWS = re.compile(rb'(?:<row r="(?:1" hidden="1|\d{1,7})"(?:/>|>(?:' + _CELL + rb")*+</row>))*+")
_HEAD = re.compile(
    rb'<\?xml version="1\.0" encoding="UTF-8" standalone="yes"\?>\n<worksheet xmlns="[^"]{1,80}" xmlns:r="[^"]{1,90}">'
    rb'<dimension ref="[A-Z0-9:]{2,20}"/><sheetViews><sheetView(?: tabSelected="1")? workbookViewId="0"><pane ySplit="1"'
    rb' topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/></sheetView></sheetViews>'
    rb'<sheetFormatPr defaultRowHeight="15"/>(?:<cols>(?:<col min="\d+" max="\d+" width="[\d.]+" customWidth="1"/>)+</cols>)?'
    rb"<sheetData>"
)
_TAIL = re.compile(rb"</sheetData><pageMargins(?: [a-z]+=\"[\d.]+\")*/></worksheet>")


def _workbook(path: Path, contents: Contents) -> bool:
    """Whether a workbook has the parts that its sheets need, as one of empty sheets has them, and in a sheet only cells."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if archive.comment:
            return False
        names = [part.filename for part in parts]
        sheets = [name for name in names if re.fullmatch(r"xl/worksheets/sheet\d{1,2}\.xml", name)]
        marked = contents.manifest.get("invented") is True
        data = INVENTED if marked else "Data"
        if path.name == CODEBOOK:
            titles, about = [*([INVENTED] if marked else []), "Main", "TabStat", "Region"], f"Codebook of the {_title(contents)}"
        else:
            titles, about = [data], _title(contents)
        if len(sheets) > 1 and path.name != CODEBOOK:
            titles = [f"{data} {number}" for number in range(1, len(sheets) + 1)]
        size = sum(30 + len(part.filename) + part.compress_size for part in parts)
        size += sum(46 + len(part.filename) for part in parts) + 22
        if len(set(names)) != len(names) or any(part.extra or part.comment for part in parts) or size != path.stat().st_size:
            return False
        quoted = any(b' s="2"' in archive.read(name) for name in sheets)
        wanted = _empty_workbook(titles, about, quoted=quoted)
        if set(names) != set(wanted):
            return False
        fixed = all(archive.read(name) == content for name, content in wanted.items() if name not in sheets)
        return fixed and all(_sheet(archive.read(name)) for name in sheets) and all(_whole(path, part) for part in parts)


def _sheet(content: bytes) -> bool:
    head = _HEAD.match(content)
    rows = _ROWS.match(content, head.end()) if head else None
    return bool(rows and _TAIL.fullmatch(content, rows.end()))


def _whole(path: Path, part: zipfile.ZipInfo) -> bool:
    """Whether nothing follows the end of a packed part."""
    with path.open("rb") as file:
        file.seek(part.header_offset + 30 + len(part.filename))
        packed = file.read(part.compress_size)
    unpacker = zlib.decompressobj(-15)
    unpacker.decompress(packed, part.file_size + 1)
    return part.compress_type == zipfile.ZIP_DEFLATED and unpacker.eof and not unpacker.unused_data


def _empty_workbook(titles: list[str], title: str, *, quoted: bool) -> dict[str, bytes]:
    """The parts of a workbook with the formats of a release; that of ``quoted`` text only where there is any."""
    made = io.BytesIO()
    with Workbook(made, {"constant_memory": True}) as book:
        book.set_properties({"title": title, "created": pd.Timestamp("1980-01-01", tz="UTC").to_pydatetime()})
        formats = [book.add_format({"bold": True})]
        formats += [book.add_format({"num_format": "@", "quote_prefix": True})] if quoted else []
        for name in titles:
            sheet = book.add_worksheet(name)
            for row, cell_format in enumerate(formats):  # a format that no cell has is not written
                sheet.write_string(row, 0, "x", cell_format)
    with zipfile.ZipFile(made) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _title(contents: Contents) -> str:
    """What files say that they are."""
    mark = f"{INVENTED}: " if contents.manifest.get("invented") is True else ""
    return f"{mark}Global Synthetic Dataset, version {contents.manifest['version']}"


def _stata(path: Path, contents: Contents) -> bool:
    """Whether a Stata file has the labels of the codebook, and is what is written of its cells with them."""
    with pd.io.stata.StataReader(path, convert_categoricals=False) as reader:
        frame, title, values = reader.read(), reader.data_label, reader.value_labels()
    names = {variable.name[:32]: variable for variable in codebook().variables}
    if list(frame.columns) != list(names):
        return True  # another check tells of the columns
    if title != _title(contents)[:80]:
        return False
    labels: Mapping[Any, Any] = {
        name: dict(enumerate(variable.values, 1)) for name, variable in names.items() if variable.kind == "category"
    }
    if values != labels:
        return False
    columns = {
        name: frame[name] if variable.kind == "country" else frame[name].astype("Int16" if variable.kind == "year" else "Int8")
        for name, variable in names.items()
    }
    again = io.BytesIO()
    pd.DataFrame(columns).to_stata(
        again,
        write_index=False,
        version=118,
        time_stamp=datetime(2000, 1, 1),
        data_label=title,
        variable_labels={name: variable.label[:80] for name, variable in names.items()},
        value_labels=labels,
    )
    return again.getvalue() == path.read_bytes()


def unread(contents: Contents) -> tuple[str, ...]:
    """What is in the release that no check reads, and what to do about it."""
    there = contents.manifest["files"]
    remedies = {
        "codebook.pdf": "codebook.pdf: not read; read codebook.html, or compare its SHA-256 with the publisher's",
        "codebook.html": "codebook.html: prose and figures are not read; the same figures are in codebook.xlsx",
        "codebook.xlsx": "codebook.xlsx: the texts below the variables of its sheet Main are not read",
        "map.html": "map.html: its prose and its drawing are not read; take figures from map.csv",
        "map_citizenship.geojson": "map_citizenship.geojson, map_CountryOfExploitation.geojson: outlines are not compared",
        "datapackage.json": "datapackage.json: titles, description, licence, publisher, homepage and citation are not read",
        "showcase.html": "showcase.html: its words and the outlines of its map are not read; its figures are compared",
        "quality_report.html": "quality_report.html: only tables, script and style are checked, not prose and plots",
        "CHANGELOG.md": "CHANGELOG.md: only that the report tells the same; compare with the release before",
        "data_dictionary.md": "data_dictionary.md: not read; read data_dictionary.csv",
    }
    signed = (
        "names of sources and partners in manifest.json; who approved it, why and when:"
        " only a signature of publication.json covers that; give the publisher's public key"
    )
    scripts = "scripts and styles of the pages: made by another version of the software; verify with that one"
    return (*(text for name, text in remedies.items() if name in there), *([] if _same_version(contents) else [scripts]), signed)


def _same_version(contents: Contents) -> bool:
    return contents.manifest.get("software") == {"name": installation.NAME, "version": installation.version()}


_SCRIPTS: Mapping[str, tuple[str, ...] | None] = {
    "map.html": ("shared.js", "map.js"),
    "showcase.html": ("shared.js", "showcase.js"),
    "quality_report.html": (),
    "codebook.html": None,
}
"""The pages and their scripts; the codebook has a style of its own and none of them."""
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_DATA = re.compile(r' type="(?:application/json|text/plain)" id="([a-z0-9-]{1,20})"')
_DATA_IDS = {"map.html": re.compile("data"), "showcase.html": re.compile(r"data|records|counts-\d")}
_NO_DATA = re.compile("(?!)")
_TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title link style script body a b blockquote button code dd details div dl dt em figcaption figure footer"
        " g h1 h2 h3 h4 header i input label li line main nav noscript ol option p path polygon polyline rect circle section"
        " select span strong sub summary sup svg table caption tbody td text tfoot th thead tr ul col colgroup br small tspan",
    )
)
_LOADING = {
    *("src", "srcset", "srcdoc", "action", "formaction", "ping", "background", "poster", "data", "manifest", "xlink:href"),
    *("attributename", "code", "archive", "codebase", "usemap", "target"),
}


class _Page(HTMLParser):
    """Whether all of a page is of harmless kinds, and its policy stands before whatever it is there to hold back."""

    def __init__(self) -> None:
        super().__init__()
        self.safe = True
        self._before: list[str] = []
        self._policies = 0
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        policy = tag == "meta" and "http-equiv" in attributes
        if policy:
            self._policies += 1
            first = set(self._before) <= {"html", "head", "meta"} and self._policies == 1
            self.safe &= first and attributes["http-equiv"] == "Content-Security-Policy"
        address = (attributes.get("href") or "").strip().lower()
        self.safe &= tag in _TAGS and len(attributes) == len(attrs) and not _LOADING & attributes.keys()
        self.safe &= not any(name.startswith("on") for name in attributes)
        self.safe &= address == "data:," if tag == "link" else not address or tag == "a"
        self.safe &= not re.match(r"[a-z+.-]*:", address) or address.startswith(("https:", "mailto:")) or tag == "link"
        self.safe &= tag != "body" or self._policies == 1
        self._before.append(tag)
        self._inside = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._inside = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """A text in the head would end it, and with it the policy."""
        self.safe &= "body" in self._before or self._inside in ("title", "style", "script") or not data.strip()

    def handle_comment(self, data: str) -> None:
        self.safe = False

    def handle_pi(self, data: str) -> None:
        self.safe = False

    def unknown_decl(self, data: str) -> None:
        self.safe = False

    def handle_decl(self, decl: str) -> None:
        self.safe &= decl.lower() == "doctype html" and not self._before


def _safe(text: str) -> bool:
    page = _Page()
    page.feed(text)
    page.close()
    return page.safe


def page_data(text: str) -> list[tuple[str, str]]:
    """The name and the text of each element of data in a page, in their order."""
    return [(known[1], content) for attributes, content in _SCRIPT.findall(text) if (known := _DATA.fullmatch(attributes))]


def check_pages(contents: Contents) -> None:
    """Check that pages run the script and style of this software only, and that the map's page tells what its table does."""
    findings = contents.findings
    same_version = _same_version(contents)
    if not same_version:
        findings.note("pages", "made by another version of the software: install that one to check scripts and styles")
    for name, scripts in _SCRIPTS.items():
        path = contents.folder / name
        if name not in contents.manifest["files"] or not path.is_file():
            continue
        text = contents.read(name, lambda path: path.read_text(encoding="utf-8"))
        if text is None:
            continue
        scripts_found = _SCRIPT.findall(text)
        run = [content for attributes, content in scripts_found if not _DATA.fullmatch(attributes)]
        rest = _SCRIPT.sub("", text)
        styles = re.findall(r"<style[^>]*>(.*?)</style", rest, re.DOTALL | re.IGNORECASE)
        findings.require("pages", _safe(text), f"{name}: holds what could run, load or hide")
        ids = [name for name, _ in page_data(text)]
        good = len(set(ids)) == len(ids) and all(map(_DATA_IDS.get(name, _NO_DATA).fullmatch, ids))
        findings.require("pages", good, f"{name}: holds data that no script of it reads")
        if scripts is None:
            policies = re.findall(r"<meta http-equiv=[^>]*>", rest)
            wanted = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
            findings.require("pages", not scripts_found and policies == [wanted], f"{name}: a script, or another policy")
            template = (files("ctdc_pipeline.products") / "pages" / "document.html").read_text("utf-8")
            own = re.findall(r"<style>(.*?)</style", template, re.DOTALL)
            findings.require("pages", not same_version or styles == own, f"{name}: another style than this software's")
        elif same_version:
            script = ["".join(["'use strict';\n", *map(_resource, scripts)])] if scripts else []
            style = _resource("page.css")
            findings.require("pages", run == script, f"{name}: another script than this software's")
            findings.require("pages", styles == [style], f"{name}: another style than this software's")
            policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', rest)
            wanted = [f"script-src {_policy(script[0]) if script else chr(39) + 'none' + chr(39)}; style-src {_policy(style)}; "]
            findings.require(
                "pages",
                len(policy) == 1
                and wanted[0] in html.unescape(policy[0])
                and html.unescape(policy[0]).startswith("default-src 'none'; "),
                f"{name}: another policy",
            )
        if name == "map.html" and (table := contents.table("map.csv")) is not None:
            data = dict(page_data(text)).get("data", "")
            good = _told(data, table, contents)
            findings.require("pages", good, f"{name}: other figures than map.csv")


def _resource(name: str) -> str:
    return (files("ctdc_pipeline.products") / "pages" / name).read_text("utf-8")


def _policy(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _told(data: str, table: pa.Table, contents: Contents) -> bool:
    """Whether the data of the map's page tell the figures of its table, and nothing else."""
    group = {variable.name: variable.group for variable in codebook().variables if variable.kind == "flag"}
    wanted: dict[str, dict[str, Any]] = {"citizenship": {}, "CountryOfExploitation": {}}
    try:
        page = json.loads(data)
        for row in table.to_pylist():
            countries_of = wanted[row["by"]]
            if row["variable"] is None:
                countries_of[row["country"]] = {"name": row["name"], "count": int(row["count"]), "profile": {}}
                continue
            name = row["variable"]
            of = {"of": int(row["denominator"]), "values": {}}
            subject = countries_of[row["country"]]["profile"].setdefault(group.get(name, name), of)
            shares = [float(row[column]) if row[column] else None for column in _SHARES]
            subject["values"][name if name in group else row["value"]] = [int(row["count"]), *shares]
        own = {
            "version": contents.manifest["version"],
            "k": contents.k,
            "profiles": wanted,
            "names": {country.iso3: country.name for country in countries().rows},
        }
        return page.keys() == own.keys() | {"roles", "subjects", "map"} and own.items() <= page.items()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return False


_SHARES = ("percentage", "percentage_from", "percentage_to")
