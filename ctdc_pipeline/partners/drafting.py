"""Draft a layout from the headings of a real file and the distinct values below them.

A draft contains guesses only, so that a person corrects instead of typing. It also contains values of the file: treat it as
just as sensitive until somebody has checked it.
"""

from __future__ import annotations

import io
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TypeVar, cast, get_args

from python_calamine import CalamineWorkbook

from ctdc_pipeline.codebook.countries import System, countries
from ctdc_pipeline.codebook.variables import codebook
from ctdc_pipeline.partners import reading
from ctdc_pipeline.partners.layout import DELIMITERS, ROLE_TYPES, Field, Layout, Role
from ctdc_pipeline.partners.loading import REQUIRED_ROLES, UNDECIDED, meanings
from ctdc_pipeline.partners.registry import BUILT_IN
from ctdc_pipeline.storage.delimited import heading_size
from ctdc_pipeline.storage.files import read_bytes

T = TypeVar("T", bound=str)

MAX_CODES = 40
MAX_CODE_LENGTH = 60
DATE_FORMATS = (
    "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%Y/%m/%d",
    "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M",
)  # fmt: skip
SYSTEMS: tuple[System, ...] = ("iso3", "iso2", "name", "portuguese")
SEPARATORS = (";", "|", ",", "/")
_WORD = re.compile(r"[^\W\d_]+")
_IDENTIFYING = frozenset((
    "name", "surname", "forename", "alias", "passport", "phone", "tel", "telephone", "mobile", "mail", "email", "address",
    "street", "kin", "guardian", "contact", "worker", "officer", "note", "notes", "remark", "remarks", "remarques", "comment",
    "comments", "narrative", "handle", "nome", "apelido", "telefone", "morada", "observações", "nom", "prénom",
    "téléphone", "adresse", "nombre", "nombres", "apellido", "apellidos", "teléfono", "dirección", "notas", "village", "town",
    "city", "observaciones", "observation", "observations", "comentario", "comentarios", "comentários", "description", "ville",
    "ciudad", "cidade", "correo", "passeport", "pasaporte", "passaporte",
))  # fmt: skip
_CONSENT = frozenset((
    "consent", "consents", "consented", "agrees", "agreed", "permission", "consentimento", "consente", "consentiu", "autoriza",
    "autorização", "consentement", "consent", "accord", "autorise", "consentimiento", "consiente", "consintió", "acepta",
    "autorización", "permiso",
))  # fmt: skip
_ROLES: tuple[tuple[Role, frozenset[str]], ...] = tuple(
    (cast("Role", role), frozenset(words.split()))
    for role, words in (
        ("birth", "birth dob born nascimento naissance nacimiento"),
        (
            "registered",
            "registered registration reg intake arrived arrival entry admission admitted report reported opened signalled "
            "entrée entrada enregistrement ingreso registro",
        ),
        ("exploited_from", "start started began begin from início inicio début"),
        ("exploited_to", "end ended until to fim fin"),
        ("gender", "sex gender sexe sexo género genre"),
        ("age", "age idade âge edad"),
        ("months", "months month duration durée meses mois"),
        (
            "exploitation_country",
            "exploited exploitation exploit found destination work worked travaillé exploração "
            "explorada explorado explotación explotada explotado exploitée exploité destino",
        ),
        ("citizenship", "citizenship citizen nationality origin from home nacionalidade nationalité nacionalidad"),
        ("case_id", "case id ref reference no number file client record"),
        ("status", "status finding victim type category result " + " ".join(_CONSENT)),
    )
)
_YES = frozenset(("yes", "y", "true", "1", "sim", "oui", "sí"))
_NO = frozenset(("no", "n", "false", "0", "não", "non"))
_BLANK = frozenset((
    "unknown", "not known", "not stated", "not recorded", "n/a", "n/k", "na", "none", "-", "--", "?", ".", "no consta",
    "sin datos", "n/d", "nd", "n.d.", "s/d", "s/i", "ns/nc", "no sabe", "não sabe",
    "desconocido", "desconocida", "desconhecido", "desconhecida",
    "sem informação", "inconnu", "inconnue", "non renseigné",
))  # fmt: skip
"""Words that usually mean that the value is not known."""
_GENDERS = {
    **dict.fromkeys(("woman", "girl", "mujer", "femenino", "femme", "fille", "féminin", "mulher", "feminino"), ("Female",)),
    **dict.fromkeys(("man", "boy", "hombre", "masculino", "homme", "garçon", "masculin", "homem"), ("Male",)),
}
_FLAGS = frozenset((
    "exploitation", "exploração", "explotación", "purpose", "purposes", "finalidad", "finalidade", "finalité", "control",
    "controle", "contrôle", "means", "medios", "meios", "moyens", "sector", "setor", "secteur", "recruiter", "recruteur",
    "recrutador", "abuse",
))  # fmt: skip
"""Words in the headings of columns whose codes say what happened to the person."""
_CONSENTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_YES, ()),
    **dict.fromkeys(_NO, ("individual-without-consent",)),
}


@dataclass
class _Column:
    """One column of the file, and what it seems to contain."""

    name: str
    filled: int
    rows: int
    values: list[str]
    times: Counter[str]
    forms: frozenset[str] = frozenset()
    systems: frozenset[System] = frozenset()
    whole: bool = False
    role: Role | None = None
    identifying: bool = False
    separator: str = ""
    listed: tuple[str, ...] = ()

    @property
    def words(self) -> set[str]:
        """The words of the heading, in lower case."""
        return {word.casefold() for word in _WORD.findall(self.name.replace("_", " "))}


def draft(path: Path) -> str:
    """Draft the TOML description of the file at ``path``.

    Args:
        path: A delimited text or a workbook, as a partner would deliver it.

    Returns:
        A TOML text. ``?`` marks each decision that only a person can make, so the text does not load before it is completed.

    Raises:
        DeliveryError: If the file cannot be read.
    """
    layout, columns = _read(path)
    blanks = _blanks(columns)
    for column in columns:
        _classify(column)
    taken_roles: set[str] = set()
    for column in columns:
        column.role = _role(column, taken_roles)
        taken_roles |= {column.role or ""} - {"status", "flags", "citizenship", "exploitation_country"}
    _last_resort(columns)
    missing_roles = [role for role in REQUIRED_ROLES if not any(column.role == role for column in columns)]
    date_columns = [column for column in columns if column.forms and (column.role is None or ROLE_TYPES[column.role] == "date")]
    country_columns = [column for column in columns if column.systems]
    date_formats, other_formats = _fewest([column.forms for column in date_columns])
    systems, _ = _fewest([column.systems for column in country_columns])
    title = re.sub(r"[\W\d_]+", " ", path.stem).strip().capitalize() or path.stem
    stem = re.sub(r"\d+(?:\W?\d+)*", "*", path.stem)
    pattern = f"{stem if '*' in stem else f'{stem}*'}{path.suffix.lower()}"
    lines = [
        "# A draft: each line is a guess. Correct it, and put a meaning or nothing for each ?. It holds values of the file.",
        "# Columns that are not to be read may be deleted here; they are then kept out.",
        *([f"# Still to be given to a field: role {', '.join(missing_roles)}."] if missing_roles else []),
        "",
        f"title = {_quoted(title)}",
        'about = "Say here whose cases these are and where they come from."',
        "",
        "[cases]",
        'title = "Case list"',
        f"file_pattern = {_quoted(pattern)}",
    ]
    lines += [f"sheet = {_quoted(layout.sheet)}"] if layout.sheet else []
    lines += [f"delimiter = {_quoted(layout.delimiter)}"] if layout.delimiter != "," else []
    if date_formats:
        lines.append(f"date_formats = {_list(date_formats)}" + (f"  # or: {', '.join(other_formats)}" if other_formats else ""))
    lines.append(f"countries = {_quoted(systems[0] if systems else 'name')}  # one of {', '.join(get_args(System))}")
    lines.append(f'blanks = {_list(blanks)}  # words that mean "no value", such as "Unknown", in every column')
    for column in columns:
        lines += ["", *_field(column)]
    lines += ["", "# What codes can mean; the names are explained in docs/codebook.md."]
    for role in ("gender", "majority", "status", "flags"):
        lines += [
            f"# {role}:",
            *textwrap.wrap(", ".join(meanings(role, "cases")), 118, initial_indent="#   ", subsequent_indent="#   "),
        ]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> tuple[Layout, list[_Column]]:
    input_file = reading.InputFile("draft", path.name)
    if not path.is_file():
        input_file.refuse("there is no such file", "Check the path.")
    if path.stat().st_size > reading.MAX_BYTES:
        input_file.refuse(f"the file is larger than {reading.MAX_BYTES} bytes", "Draft from a part of it.")
    raw = read_bytes(path)
    if path.suffix.lower() == ".xlsx":
        headings = reading.sheet_rows(raw, "", input_file)[0]
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(raw)).sheet_names[0]
        layout = Layout("draft", "*", (), format="xlsx", sheet=sheet)
    else:
        text = raw.removeprefix(b"\xef\xbb\xbf")
        splits = {sign: reading.split_record(text[: heading_size(text)], sign) for sign in DELIMITERS}
        delimiter = max(splits, key=lambda sign: len(splits[sign]))
        headings, layout = splits[delimiter], Layout("draft", "*", (), delimiter=delimiter)
    names = [" ".join(heading.split()) for heading in headings]
    if len(names) < 2:
        input_file.refuse(
            "fewer than two headings are in the first line", f"Separate columns by {', '.join(DELIMITERS.values())}."
        )
    fields = tuple(Field(name, required=False) for name in dict.fromkeys(names) if name)
    layout = Layout("draft", "*", fields, layout.format, layout.delimiter, sheet=layout.sheet)
    table, _ = reading.read(path, layout=layout, source="draft")
    columns: list[_Column] = []
    for field in fields:
        cells = [str(cell).strip() for cell in table.column(field.name).to_pylist()]
        times = Counter(cell for cell in cells if cell)
        columns.append(_Column(field.name, times.total(), table.num_rows, [*times], times))
    return layout, columns


def _blanks(columns: Sequence[_Column]) -> list[str]:
    """Remove the words that seem to mean no value from ``columns``, and return them.

    In a column about consent such a word is a code: an unknown answer must not become a missing question, which would admit the
    case.
    """
    consent_answers = {value.casefold() for column in columns if column.words & _CONSENT for value in column.values}
    blanks: dict[str, str] = {}
    for column in columns:
        blank_values = {value for value in column.values if value.casefold() in _BLANK - consent_answers}
        blanks |= {value.casefold(): value for value in blank_values}
        column.filled -= sum(column.times[value] for value in blank_values)
        column.values = [value for value in column.values if value not in blank_values]
    return sorted(blanks.values())


def _classify(column: _Column) -> None:
    """Guess what the values of ``column`` could be."""
    values = column.values
    column.identifying = bool(column.words & _IDENTIFYING)
    if not values:
        return
    most = 0.9 * len(values)
    column.whole = sum(value.isdecimal() for value in values) >= most
    column.forms = frozenset(form for form in DATE_FORMATS if sum(_is_day(value, form) for value in values) >= most)
    known: dict[System, int] = {
        system: sum(countries().alpha3(value, system=system) is not None for value in values) for system in SYSTEMS
    }
    named = any(column.words & words for role, words in _ROLES if role in ("citizenship", "exploitation_country"))
    if len(values) > 1 or named:
        systems: list[System] = [system for system in SYSTEMS if known[system] >= 0.8 * len(values)]
        column.systems = frozenset(systems)
    if not (column.identifying or (column.whole and len(values) > 5) or column.forms or column.systems):
        column.listed, column.separator = _codes(column)


def _codes(column: _Column) -> tuple[tuple[str, ...], str]:
    """Return the codes that the column seems to contain, and their separator."""
    ways: list[tuple[tuple[str, ...], str]] = [(_distinct(column.values), "")]
    for sign in SEPARATORS:
        if any(sign in value for value in column.values):
            ways.append((_distinct(part.strip() for value in column.values for part in value.split(sign)), sign))
    codes, separator = min(ways, key=lambda way: (len(way[0]), not way[1]))
    few = len(codes) <= MAX_CODES and 3 * len(codes) <= column.filled and all(len(code) <= MAX_CODE_LENGTH for code in codes)
    return (codes, separator) if few else ((), "")


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values, sorted, without blanks and without those that differ in case only."""
    return tuple(sorted({value.casefold(): value for value in values if value}.values()))


def _role(column: _Column, taken: set[str]) -> Role | None:
    for role, words in _ROLES:
        if role in taken or not column.words & words:
            continue
        kind = ROLE_TYPES[role]
        fits = {
            "date": bool(column.forms),
            "integer": column.whole,
            "country": bool(column.systems),
            "code": bool(column.listed) and (role != "status" or _is_status(column)),
            "text": _tells_apart(column),
        }
        if fits[kind]:
            return role
    if "gender" not in taken and len(column.listed) > 1 and all(_means(code, "gender") for code in column.listed[:2]):
        return "gender"
    if column.listed and (column.words & _FLAGS or any(_means(code, "flags") or _yes(column, code) for code in column.listed)):
        return "flags"
    return None


def _is_status(column: _Column) -> bool:
    """Return whether the column decides who is left out.

    It does if its codes say so, or if it asks for consent.
    """
    return bool(column.words & _CONSENT) or any(_means(code, "status") for code in column.listed)


def _tells_apart(column: _Column) -> bool:
    return len(column.values) == column.filled == column.rows and not column.identifying


def _last_resort(columns: Sequence[_Column]) -> None:
    """Give required roles to the only column that could have them, whatever its heading."""
    free = [column for column in columns if column.role is None]
    if not any(column.role == "registered" for column in columns):
        date_columns = [column for column in free if column.forms]
        if len(date_columns) == 1:
            date_columns[0].role = "registered"
    if not any(column.role == "case_id" for column in columns):
        distinct_columns = [column for column in free if column.role is None and _tells_apart(column)]
        if distinct_columns:
            distinct_columns[0].role = "case_id"


@cache
def _dictionary(role: str) -> dict[str, tuple[str, ...]]:
    """Return the known meanings of codes and labels for one role.

    If partners differ, the most common meaning counts.
    """
    meanings_by_text: dict[str, Counter[tuple[str, ...]]] = {}
    for source in BUILT_IN.values():
        for field in source.cases.having(cast("Role", role)):
            for code in field.codes:
                for text in {code.code.casefold(), code.label.casefold()}:
                    if len(text) > 3 or role == "gender":
                        meanings_by_text.setdefault(text, Counter())[code.means] += 1
    if role == "flags":
        for variable in codebook().harmonised:
            if variable.kind == "flag":
                meanings_by_text.setdefault(variable.label.casefold(), Counter())[(variable.name,)] += 1
    return {text: meaning_counts.most_common(1)[0][0] for text, meaning_counts in meanings_by_text.items()}


def _means(code: str, role: str) -> tuple[str, ...] | None:
    """Return what ``code`` means: () if it means nothing, None if the meaning is unknown."""
    return _dictionary(role).get(code.casefold()) or (_GENDERS.get(code.casefold()) if role == "gender" else None)


def _yes(column: _Column, code: str) -> tuple[str, ...] | None:
    """Return what "yes" means in a column whose heading is the question."""
    if code.casefold() not in _YES:
        return None
    return _dictionary("flags").get(column.name.replace("_", " ").casefold())


def _field(column: _Column) -> list[str]:
    lines = ["[[cases.fields]]", f"name = {_quoted(column.name)}"]
    if column.role:
        lines.append(f"role = {_quoted(column.role)}  # a guess")
    elif not column.identifying:
        lines.append("# No role: it is read and goes no further.")
    if column.role is None or ROLE_TYPES[column.role] == "code":
        lines += _listed(column)
    if column.separator and column.role in (None, "flags"):
        lines.append(f"separator = {_quoted(column.separator)}")
    if column.role == "status" and column.words & _CONSENT:
        lines.append("filled = true  # otherwise a blank would let the case in")
    elif column.filled == column.rows and column.role in ("case_id", "registered", "status"):
        lines.append("filled = true")
    if column.identifying or column.role == "birth":
        lines.append("identifying = true")
    return lines


def _listed(column: _Column) -> list[str]:
    if not column.listed:
        return []
    rows: list[Sequence[str]] = []
    for code in column.listed:
        means = _means(code, column.role) if column.role else ()
        if column.role == "flags" and means is None:
            means = _yes(column, code) or (() if code.casefold() in _NO else None)
        if column.role == "status" and column.words & _CONSENT:
            means = _CONSENTED.get(code.casefold(), means)
        rows.append((code, code, *((UNDECIDED,) if means is None else means)))
    return ["codes = [", *(f"    {_list(row)}," for row in rows), "]"]


def _fewest(choices: Sequence[frozenset[T]]) -> tuple[list[T], list[T]]:
    """Choose the fewest options that suit every column.

    Returns:
        The chosen options, and the options that would suit the same columns as well.
    """
    chosen: list[T] = []
    doubtful: list[T] = []
    open_choices = [own for own in choices if own]
    while open_choices:
        counted = Counter(option for own in open_choices for option in own)
        best = max(counted, key=lambda option: (counted[option], -_rank(option)))
        suited = [own for own in open_choices if best in own]
        doubtful += sorted(frozenset.intersection(*suited) - {best})
        chosen.append(best)
        open_choices = [own for own in open_choices if best not in own]
    return chosen, doubtful


def _rank(name: str) -> int:
    return [*DATE_FORMATS, *SYSTEMS].index(name)


def _is_day(text: str, form: str) -> bool:
    try:
        return 1900 < datetime.strptime(text, form).year < 2100
    except ValueError:
        return False


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"
