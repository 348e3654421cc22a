"""Invented identifying details: the names, numbers, addresses and notes that a case system holds and no later stage may see.

Every value is plainly made up (no real name list, telephone numbers from ranges reserved for fiction), and some are awkward on
purpose: accents, apostrophes, commas, quotes and line breaks, as real text has them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GIVEN = (
    "Testa", "Exempla", "Fiktiva", "Muestra", "Échantine", "Próba", "Sampel", "Contoh", "Vzorka", "Mönsta",
    "Invéntia", "Nemova", "Placida", "Demonah", "Ürneka", "Halimbo", "Primera", "Tialda", "Zkouška", "Nonesta",
)  # fmt: skip
FAMILY = (
    "Nobodee", "O'Example", "Placeholder", "de la Muestra", "Ñandú-Ejemplo", "Nowhere", "Sampleski", "Fictionescu", "Mustér",
    "Invented", "Noone, Jr.", "Testimony", "Örneksiz", "Demowati", "al-Mithal", "Specimen", "Vzoruk", "Halimbawa", "Blank",
)  # fmt: skip
STREETS = ("Imaginary Street", "Rue de l'Exemple", "Calle Ficticia", "Made-up Road", 'Lane "B", Block 4', "Nowhere Avenue")
TOWNS = ("Sampleville", "Ejemplópolis", "Testograd", "Fictionburg", "Contoh Baru", "Nowhere-upon-Sea")
NOTES = (
    "Interviewed in person; no immediate needs.",
    "Called back, left no message.",
    'Said "I want to go home", return ticket requested.',
    "Referred to shelter, legal aid, and medical care.",
    "First contact by phone.\nSecond contact in person.",
    "Interpreter present; résumé of interview on paper file.",
    "Family informed; does not wish to be contacted again.",
    "Documents with embassy, replacement pending",
)
FORMULA_NOTES = ("=cmd|' /C calc'!A0", "+1+1", "@SUM(A1:A9)", '=HYPERLINK("http://example.invalid","open")')


def identities(rng: np.random.Generator, size: int) -> pd.DataFrame:
    """``size`` rows of str: given, family, passport, national_id, phone, email, address, kin, officer, note; most notes are empty."""
    passport = rng.integers(10**6, 10**7, size)
    phone, house, officer = (rng.integers(1, top, size).astype(str).astype(object) for top in (10**4, 300, 80))
    address = _pick(rng, STREETS, size) + " " + house + ", " + _pick(rng, TOWNS, size)
    note = _pick(rng, NOTES, size)
    note[rng.random(size) < 0.6] = ""
    number = np.arange(1, size + 1).astype(str).astype(object)
    family = _pick(rng, FAMILY, size)
    return pd.DataFrame(
        {
            "given": _pick(rng, GIVEN, size),
            "family": family,
            "passport": "ZZ" + passport.astype(str).astype(object),
            "national_id": "NID-" + passport[::-1].astype(str).astype(object),
            "phone": "+999 555 01 " + phone,
            "email": "person" + number + "@example.invalid",
            "address": address,
            "kin": _pick(rng, GIVEN, size) + " " + family,
            "officer": "Officer " + officer,
            "note": note,
        },
        dtype=object,
    )


def _pick(rng: np.random.Generator, values: tuple[str, ...], size: int) -> NDArray[np.object_]:
    return np.array(values, dtype=object)[rng.integers(0, len(values), size)]
