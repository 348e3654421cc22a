"""Give texts that look the same to people one spelling.

Identifiers, codes and headings are compared in it.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Default-ignorable code points of Unicode, and control characters that are not white space."""
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")


def normal_form(text: str) -> str:
    """Return ``text`` in the one form that every text that looks the same has; case is kept.

    Compatible forms become one (NFKC: full-width digits, composed accents), digits of any script become ASCII digits, invisible
    characters are removed, dashes become hyphens, and any run of white space becomes one space, with none at the ends. In ASCII
    text only the white space changes.

    >>> normal_form("\\u200bC\\uff11\\u00a0 7 ")
    'C1 7'
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    # Twice, because a removed character may have separated an accent from its letter.
    for _ in range(2):
        text = _DASHES.sub("-", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)))
    text = "".join(str(unicodedata.decimal(sign, sign)) for sign in text)
    return " ".join(text.split())
