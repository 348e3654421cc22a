"""Load layouts from TOML files, and report every problem with its place and remedy.

A file is data: nothing in it is evaluated. A layout that needs code names a function of ``hooks``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

from ctdc_pipeline.codebook.countries import System
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.errors import LayoutError
from ctdc_pipeline.partners import htcds
from ctdc_pipeline.partners.hooks import READERS
from ctdc_pipeline.partners.layout import (
    BY_STATUS,
    DELIMITERS,
    ROLE_TYPES,
    WAIVABLE,
    Basis,
    Code,
    Field,
    Layout,
    Role,
    Source,
    Type,
)

MAX_BYTES = 1 << 18
"""The largest accepted layout file."""
MAX_TEXT = 200
"""The longest accepted heading or code, in characters."""
UNDECIDED = "?"
"""Marks in a draft a code whose meaning only a person can decide; a layout that contains it is rejected."""
MAX_DOTS = 500
"""The most dots accepted before the equals sign of a line."""
MAX_SHOWN = 60
"""The most characters of a layout's text that a message quotes."""
MAX_PROBLEMS = 100

NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
RESERVED_NAMES = frozenset(
    ("all", "victims", "quarantine", "exclusions", "accounting", "deliveries", "suppressed", "profiles", "files", "comparisons")
)
"""Names of tables that every installation has."""
RESERVED_ENDINGS = (
    "opt_outs",
    "consents",
    "quarantine",
    "exclusions",
    "accounting",
    "deliveries",
    "suppressed",
    "profiles",
    "refreshes",
    "htcds",
)
"""Endings of the names of a partner's own tables."""

SINGLE_ROLES: tuple[Role, ...] = (
    "registered", "birth", "age", "gender", "majority", "age_at_exploitation", "exploited_from", "exploited_to", "months",
)  # fmt: skip
"""Roles that only one field of a layout may have."""
REQUIRED_ROLES: tuple[Role, ...] = ("case_id", "registered", "citizenship", "exploitation_country")
"""Roles that some field of the cases must have."""
_DIRECTIVE = re.compile(r"%(.?)")

Check = Callable[[object], bool]
"""Tells whether a value is of the required kind."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


TEXT: tuple[str, Check] = ("a text in quotes, which is not blank", _is_text)
TEXTS: tuple[str, Check] = ('a list of texts, such as ["one", "two"]', _is_texts)
SWITCH: tuple[str, Check] = ("true or false, without quotes", lambda value: isinstance(value, bool))
DAY: tuple[str, Check] = ("a date without quotes, such as 2015-01-01", lambda value: type(value) is date)
MONTHS: tuple[str, Check] = ("a whole number from 1 to 12", lambda value: type(value) is int and 1 <= value <= 12)
TABLE: tuple[str, Check] = ("a table of its own, such as [cases]", _is_table)
FIELDS: tuple[str, Check] = (
    "a list of tables, each headed like [[cases.fields]]",
    lambda value: isinstance(value, list) and bool(value) and all(map(_is_table, value)),
)
CODES: tuple[str, Check] = (
    'a list of ["code", "what it is called", "what it means"], where the meaning may be absent',
    lambda value: isinstance(value, list) and bool(value) and all(_is_texts(row) and len(row) >= 2 for row in value),
)


def _one_of(names: Collection[str]) -> tuple[str, Check]:
    return f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names


SOURCE_KEYS = {
    "title": TEXT, "partner": TEXT, "about": TEXT, "delivers": _one_of(("snapshot", "increment")), "every": MONTHS,
    "reported_from": DAY, "stopped": DAY, "waivable": TEXTS, "cases": TABLE, "opt_outs": TABLE, "consents": TABLE,
}  # fmt: skip
LAYOUT_KEYS = {
    "title": TEXT, "file_pattern": TEXT, "sheet": TEXT, "delimiter": (f"one of {', '.join(map(repr, DELIMITERS))}",
    lambda value: isinstance(value, str) and value in DELIMITERS), "encoding": _one_of(("utf-8", "utf-8-sig")),
    "date_formats": TEXTS, "countries": _one_of(get_args(System)), "blanks": TEXTS, "may_be_empty": SWITCH,
    "reader": _one_of(tuple(READERS)), "fields": FIELDS,
}  # fmt: skip
FIELD_KEYS = {
    "name": TEXT, "type": _one_of(get_args(Type)), "role": _one_of(get_args(Role)), "codes": CODES,
    "basis": _one_of(get_args(Basis)), "identifying": SWITCH, "required": SWITCH, "filled": SWITCH,
    "separator": ("a text in quotes, such as \";\"", lambda value: isinstance(value, str) and value != ""), "note": TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of a file, and what to do about it."""

    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}. {self.remedy}" if self.key else f"{self.message}. {self.remedy}"


def load(path: Path | Traversable) -> Source:
    """Load the source that the file at ``path`` describes; it gets the name of the file.

    Raises:
        LayoutError: If the file is wrong. The error lists every problem with its place and remedy.
    """
    text = _text(path)
    try:
        # Parsing a key of n parts takes time and memory proportional to n squared.
        if any(line.partition("=")[0].count(".") > MAX_DOTS for line in text.splitlines()):
            raise RecursionError
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _shown(str(error).split(";")[0], 200)
        raise _refused(
            path, Problem("", f"this is not TOML: {reason}", "Correct that place; texts stand in double quotes.")
        ) from None
    loader = _Loader(path.name.rpartition(".")[0])
    source = loader.load_source(content)
    if source is None or loader.problems:
        raise _refused(path, *loader.problems)
    return source


def _text(path: Path | Traversable) -> str:
    try:
        if not path.is_file():
            raise _refused(path, Problem("", "there is no such file", "Check the path."))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError:
        raise _refused(path, Problem("", "the file cannot be read", "Check its permissions.")) from None
    if len(raw) > MAX_BYTES:
        raise _refused(path, Problem("", f"the file is larger than {MAX_BYTES:,} bytes", "A layout holds no data; shorten it."))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(path, Problem("", "the encoding is not UTF-8", "Save it as UTF-8.")) from None


def _refused(path: Path | Traversable, *problems: Problem) -> LayoutError:
    first_problem = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    location = ": ".join(filter(None, (_shown(path.name), first_problem.key)))
    problem_texts = tuple(str(problem) for problem in problems[:MAX_PROBLEMS])
    return LayoutError(
        f"{location}: {first_problem.message}{more}",
        remedy=first_problem.remedy,
        file=path.name,
        key=first_problem.key,
        problems=problem_texts,
    )


def name_conflicts(source: Source, existing: Mapping[str, Source]) -> list[Problem]:
    """List the names of ``source`` that one of ``others`` already has."""
    problems: list[Problem] = []
    partners = {existing_source.partner for existing_source in existing.values()}
    if source.name in existing:
        problems.append(Problem("", f"there is a source called {source.name} already", "Give the file another name."))
        return problems
    if source.name in partners and source.partner != source.name:
        problems.append(Problem("", f"{source.name} is the name of a partner", "Give the file another name."))
    if source.partner in existing and existing[source.partner].partner != source.partner:
        problems.append(Problem("partner", f"{source.partner} is the name of another partner's source", "Choose another name."))
    if source.title.casefold() in {existing_source.title.casefold() for existing_source in existing.values()}:
        problems.append(Problem("title", "another source has the same title", "Choose another title."))
    return problems


def require_free(path: Path, source: Source, taken: Mapping[str, Source]) -> None:
    """Refuse ``source``, described by the file at ``path``, if its names are taken.

    Raises:
        LayoutError: If a source of ``taken`` has the same name, title or partner name.
    """
    if problems := name_conflicts(source, taken):
        raise _refused(path, *problems)


def load_installed(folder: Path, *, taken: Mapping[str, Source]) -> tuple[dict[str, Source], tuple[LayoutError, ...]]:
    """Load the sources that an installation adds.

    Args:
        folder: The folder of TOML files; it may be absent.
        taken: The sources that exist already.

    Returns:
        The added sources by name, and an error for each file that is wrong. A wrong file leaves out only its own source.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".toml" and not path.name.startswith("."))
    except FileNotFoundError:
        return {}, ()
    except OSError:
        return {}, (_refused(folder, Problem("", "the folder of layouts cannot be read", "Check its permissions.")),)
    sources: dict[str, Source] = {}
    broken: list[LayoutError] = []
    for path in paths:
        try:
            source = load(path)
            require_free(path, source, {**taken, **sources})
            sources[source.name] = source
        except LayoutError as error:
            broken.append(error)
    return sources, tuple(broken)


class _Loader:
    """Reads one file and collects all of its problems instead of stopping at the first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []

    def report(self, key: str, message: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(key, message, remedy))

    def checked_table(
        self, table: Mapping[str, Any], location: str, keys: Mapping[str, tuple[str, Check]], *required: str
    ) -> dict[str, Any]:
        """Return the entries of a table that are valid, and report the others."""
        for key in table.keys() - keys.keys():
            self.report(_joined_key(location, _shown(key)), "there is no such key", _closest(key, keys))
        for key in required:
            if key not in table:
                self.report(_joined_key(location, key), "the key is missing", f"Give {keys[key][0]}.")
        valid: dict[str, Any] = {}
        for key in (key for key in table if key in keys):
            expected, is_valid = keys[key]
            if is_valid(table[key]):
                valid[key] = table[key]
            else:
                choices = expected.removeprefix("one of ").split(", ")
                remedy = (
                    _closest(table[key], choices)
                    if expected.startswith("one of") and isinstance(table[key], str)
                    else f"Give {expected}."
                )
                self.report(
                    _joined_key(location, key),
                    f"the value is not {expected}" if not expected.startswith("one of") else "no such value is known",
                    remedy,
                )
        return valid

    def load_source(self, content: Mapping[str, Any]) -> Source | None:
        """Return the source that a file describes, or None if the file has problems."""
        valid = self.checked_table(content, "", SOURCE_KEYS, "title", "about", "cases")
        partner = valid.get("partner", self.name)
        for key, name in (("", self.name), *((("partner", partner),) if partner != self.name else ())):
            self.check_name(key, name)
        kinds = ("cases", "opt_outs", "consents")
        layouts = {kind: self.load_layout(valid.pop(kind), kind) for kind in kinds if kind in valid}
        if self.problems or None in layouts.values():
            return None
        values: dict[str, Any] = {**_frozen(valid), **layouts, "name": self.name, "partner": partner}
        source = Source(**values)
        self.check_source(source)
        return source

    def check_name(self, key: str, name: str) -> None:
        """Check the name of a source or partner.

        It becomes part of the names of tables, files and jobs.
        """
        what = "a partner's name" if key else "the name of the file, which is the name of the source,"
        remedy = "Use small letters, digits and _, beginning with a letter, at most 30, such as harbour."
        if not NAME.fullmatch(name):
            self.report(key, f"{what} cannot be used in names of tables", remedy)
        elif name in RESERVED_NAMES or name.endswith(tuple(f"_{ending}" for ending in RESERVED_ENDINGS)):
            self.report(key, f"{what} is one of the names that tables have", "Choose another name.")

    def load_layout(self, table: Mapping[str, Any], location: str) -> Layout | None:
        """Return the layout that a table describes, or None if the table has problems."""
        problems_before = len(self.problems)
        valid = self.checked_table(table, location, LAYOUT_KEYS, "title", "file_pattern", "fields")
        fields = [
            self.load_field(row, _field_location(location, row, number), location)
            for number, row in enumerate(valid.pop("fields", ()), start=1)
        ]
        reader = valid.pop("reader", None)
        pattern = valid.get("file_pattern", "x.csv")
        file_format = "xlsx" if pattern.endswith(".xlsx") else "csv"
        if "/" in pattern or "\\" in pattern or not pattern.endswith((".csv", ".tsv", ".txt", ".xlsx")):
            self.report(
                f"{location}.file_pattern",
                "this is not the name of a readable file",
                "End it in .csv, .tsv, .txt or .xlsx; no folder.",
            )
        if (file_format == "xlsx") != ("sheet" in valid) and "file_pattern" in valid:
            remedy = "Name the sheet." if file_format == "xlsx" else "Leave it out, or let file_pattern end in .xlsx."
            self.report(f"{location}.sheet", "a workbook has a sheet, and a text has none", remedy)
        for date_format in valid.get("date_formats", ()):
            if not _is_date_format(date_format):
                remedy = "Use %Y for the year, %m or %b for the month, %d for the day, %H:%M:%S for a time."
                self.report(
                    f"{location}.date_formats",
                    f"{_shown(date_format)} does not say where the year is, or more than a date",
                    remedy,
                )
        if len(self.problems) > problems_before:
            return None
        values = _frozen(valid)
        valid_fields = tuple(field for field in fields if field is not None)
        layout = Layout(**values, fields=valid_fields, format=file_format, cells=READERS[reader] if reader else None)
        self.check_fields(layout, location)
        return layout if len(self.problems) == problems_before else None

    def load_field(self, table: Mapping[str, Any], location: str, kind: str) -> Field | None:
        """Return the field that a table describes, or None if the table has problems."""
        problems_before = len(self.problems)
        valid = self.checked_table(table, location, FIELD_KEYS, "name")
        role: Role | None = valid.get("role")
        codes = tuple(Code(row[0], row[1], tuple(row[2:])) for row in valid.pop("codes", ()))
        type_: Type = valid.pop("type", ROLE_TYPES[role] if role else "code" if codes else "text")
        if role and type_ != ROLE_TYPES[role]:
            self.report(f"{location}.type", f"a field used as {role} is of type {ROLE_TYPES[role]}", "Leave the type out.")
        if (type_ == "code") != bool(codes) and "codes" not in {
            problem.key.rpartition(".")[2] for problem in self.problems[problems_before:]
        }:
            remedy = "List the codes." if not codes else "Leave the type out, or the codes."
            self.report(f"{location}.codes", "a field of type code has codes, and no other has", remedy)
        name = valid.get("name", "x")
        if name.strip() != name or name.startswith("_") or not name.isprintable() or len(name) > MAX_TEXT:
            remedy = f"Write it as in the file, without outer spaces and line breaks, at most {MAX_TEXT} characters."
            self.report(f"{location}.name", "this cannot be a heading; one that begins with _ is ours", remedy)
        if valid.get("separator") and role not in (None, "flags", "citizenship", "exploitation_country"):
            self.report(f"{location}.separator", f"a field used as {role} has one value", "Leave the separator out.")
        if valid.get("identifying") and role == "flags":
            self.report(f"{location}.identifying", "what is published cannot be identifying", "Leave out either.")
        if len(self.problems) > problems_before:
            return None
        field = Field(**valid, type=type_, codes=codes)
        self.check_codes(field, location, kind)
        return field if len(self.problems) == problems_before else None

    def check_codes(self, field: Field, location: str, kind: str) -> None:
        """Check that each code occurs once and means something that the codebook knows."""
        allowed = meanings(field.role, kind)
        for number, code in enumerate(field.codes, start=1):
            key = f"{location}.codes[{number}]"
            if code.code.strip() != code.code or len(code.code) > MAX_TEXT or (field.multi and field.separator in code.code):
                self.report(key, "no cell can hold this code", "Write it as in the file, without outer spaces and separators.")
            for meaning in code.means:
                if meaning not in allowed:
                    if meaning == UNDECIDED:
                        choices = (
                            f"one of {', '.join(allowed)}" if len(allowed) <= 15 else "one of the names at the end of a draft"
                        )
                        remedy = f"Put {choices} in the place of ?, or take ? out if it means nothing."
                        self.report(key, "what the code means is not decided", remedy)
                    elif not allowed:
                        self.report(key, "the code means something, and the field has no role", "Give the field a role.")
                    else:
                        self.report(
                            key, f"{_shown(meaning)} is nothing that a code of {field.role} can mean", _closest(meaning, allowed)
                        )
            if field.role != "flags" and len(code.means) > 1:
                self.report(key, "the code means several things", "Give one meaning.")
        for code, times in Counter(code.code.casefold() for code in field.codes).items():
            if times > 1:
                number = [listed.code.casefold() for listed in field.codes].index(code) + 1
                self.report(f"{location}.codes[{number}]", "the code is listed twice; case does not count", "Leave one out.")
        if field.role == "flags" and not any(code.means for code in field.codes):
            self.report(f"{location}.codes", "no code means a variable", "Say what the codes mean, or leave the role out.")

    def check_fields(self, layout: Layout, location: str) -> None:
        """Check the rules that concern several fields of a layout."""
        for name, times in Counter(field.name.casefold() for field in layout.fields).items():
            if times > 1:
                (first, *_) = (field.name for field in layout.fields if field.name.casefold() == name)
                self.report(f'{location}.fields "{_shown(first)}"', "the heading is listed twice", "Leave one out.")
        for role in SINGLE_ROLES:
            if len(same_role := layout.having(role)) > 1:
                self.report(
                    f'{location}.fields "{_shown(same_role[1].name)}".role', f"two fields are used as {role}", "Choose one."
                )
        blanks = {also_blank.casefold() for also_blank in layout.blanks}
        for field in layout.fields:
            if also_blank := blanks & {code.code.casefold() for code in field.codes}:
                remedy = "Leave it out of either."
                self.report(f'{location}.fields "{_shown(field.name)}".codes', f"{len(also_blank)} codes are also blanks", remedy)
        required: Sequence[Role] = (
            REQUIRED_ROLES if location == "cases" else ("case_id", "status") if location == "consents" else ("case_id",)
        )
        for role in required:
            if not layout.having(role):
                remedy = "Give the role to a field."
                if ROLE_TYPES[role] == "country":
                    remedy += " If the partner never records it, add a field for it with required = false."
                self.report(f"{location}.fields", f"no field has the role {role}", remedy)
        if location == "cases":
            for field in layout.having("case_id"):
                if not field.filled:
                    remedy = "Add filled = true."
                    self.report(
                        f'{location}.fields "{_shown(field.name)}".filled', "what identifies a case is always filled", remedy
                    )
        elif len(layout.having("status")) > 1:
            self.report(f"{location}.fields", "a list has one status at most", "Choose one.")

    def check_source(self, source: Source) -> None:
        """Check the rules that concern several layouts of a source."""
        if source.cases.title == htcds.LAYOUT.title:
            self.report("cases.title", "this is the title of another layout", "Choose another title.")
        lists = {"opt_outs": source.opt_outs, "consents": source.consents}
        for kind, layout in lists.items():
            if layout and len(layout.having("case_id")) != len(source.cases.having("case_id")):
                remedy = "Give the role case_id to as many fields as in cases, in the same order."
                self.report(f"{kind}.fields", "the list names people by other fields than the cases", remedy)
        patterns = [(kind, layout.file_pattern) for kind, layout in {"cases": source.cases, **lists}.items() if layout]
        for number, (kind, pattern) in enumerate(patterns):
            for _, other_pattern in patterns[:number]:
                if fnmatchcase(pattern.replace("*", ""), other_pattern) or fnmatchcase(other_pattern.replace("*", ""), pattern):
                    self.report(
                        f"{kind}.file_pattern", "one file could be of two kinds", "Choose patterns that exclude each other."
                    )
        status_rules = {rule for field in source.cases.having("status") for code in field.codes for rule in code.means}
        for rule in source.waivable:
            if rule not in WAIVABLE:
                self.report("waivable", f"{_shown(rule)} can never be set aside", f"Choose among {', '.join(WAIVABLE)}.")
            elif rule not in status_rules:
                self.report("waivable", f"no code of a status means {rule}", "Leave it out, or let a code mean it.")


def meanings(role: Role | None, kind: str) -> Collection[str]:
    """Return what a code may mean in a field with this role.

    Args:
        role: The role of the field, or None.
        kind: ``"cases"``, ``"opt_outs"`` or ``"consents"``: what the layout lists.
    """
    book = codebook()
    if role == "flags":
        return [variable.name for variable in book.harmonised if variable.kind == "flag"]
    if role == "gender":
        return book.variable("gender").values
    if role == "majority":
        return book.variable("majorityStatusAtExploit").values
    if role == "status":
        return ("without-consent",) if kind == "consents" else BY_STATUS
    return ()


def _is_date_format(text: str) -> bool:
    """Return whether a date can be read in this format, including its year."""
    if not {*_DIRECTIVE.findall(text)} <= {*"YmdbBHMS"} or "%Y" not in text:
        return False
    try:
        return datetime.strptime(datetime(2016, 3, 7).strftime(text), text).year == 2016
    except (ValueError, re.error):
        return False


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table with tuples instead of lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _joined_key(location: str, key: str) -> str:
    return f"{location}.{key}" if location else key


def _field_location(location: str, field_table: Mapping[str, Any], number: int) -> str:
    name = field_table.get("name")
    return f'{location}.fields "{_shown(name)}"' if isinstance(name, str) and name.strip() else f"{location}.fields[{number}]"


def _shown(text: str, most: int = MAX_SHOWN) -> str:
    """Return a text of a layout for a message: shortened, and without control characters."""
    printable = "".join(character if character.isprintable() else "?" for character in text[: most + 1])
    return printable if len(printable) <= most else f"{printable[:most]}..."


def _closest(word: str, choices: Collection[str]) -> str:
    """Return a remedy that names the choices most similar to ``word``."""
    by_case = {choice.casefold(): choice for choice in choices}
    similar = [by_case[match] for match in get_close_matches(word.casefold()[:MAX_TEXT], by_case, n=3, cutoff=0.6)]
    if similar:
        return f"Did you mean {' or '.join(similar)}?"
    return f"Choose among {', '.join(choices)}." if len(choices) <= 15 else "Choose one of docs/codebook.md."
