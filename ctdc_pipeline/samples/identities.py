"""Invent identifying details that a case system has and no later stage may see.

They are names, numbers, addresses and notes. Every value is plainly made up (no real name list, telephone numbers from ranges
reserved for fiction). Some are difficult on purpose: they contain accents, apostrophes, commas, quotes and line breaks, as real
text does.
"""

from __future__ import annotations

import numpy as np
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
FORMULA = "=cmd|' /C calc'!A0"


def identities(rng: np.random.Generator, size: int) -> dict[str, NDArray[np.object_]]:
    """Return ``size`` invented identities by detail.

    The details are given, family, passport, national_id, phone, email, address, kin, officer and note.
    """
    number, phone, house, officer = (_digits(rng, top, size) for top in (10**7, 10**4, 300, 80))
    given, family, relative = _pick(rng, GIVEN, size), _pick(rng, FAMILY, size), _pick(rng, GIVEN, size)
    note = _pick(rng, NOTES, size)
    note[rng.random(size) < 0.6] = ""
    return {
        "given": given,
        "family": family,
        "passport": "ZZ" + number,
        "national_id": "NID-" + number[::-1],
        "phone": "+999 555 01 " + phone,
        "email": "person" + number + "@example.invalid",
        "address": _pick(rng, STREETS, size) + " " + house + ", " + _pick(rng, TOWNS, size),
        "kin": relative + " " + family,
        "officer": "Officer " + officer,
        "note": note,
    }


def _pick(rng: np.random.Generator, values: tuple[str, ...], size: int) -> NDArray[np.object_]:
    return np.array(values, dtype=object)[rng.integers(0, len(values), size)]


def _digits(rng: np.random.Generator, top: int, size: int) -> NDArray[np.object_]:
    return np.array([str(number) for number in rng.integers(1, top, size).tolist()], dtype=object)
