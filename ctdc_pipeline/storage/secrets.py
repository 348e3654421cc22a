"""What must never be public: the key of the case pseudonyms and the seed of the synthesis.

Each comes from the environment, or from a file of the sensitive zone that ``generate`` made for a demonstration.
"""

from __future__ import annotations

import os
import secrets

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.storage.files import read_bytes, write_bytes
from ctdc_pipeline.storage.zones import Zones

KEY = "CTDC_PSEUDONYM_KEY"
SEED = "CTDC_SEED"
KEY_BYTES = 32
SEED_BITS = 63
SEED_DIGITS = len(str(1 << SEED_BITS))


def pseudonym_key(zones: Zones) -> bytes:
    """The HMAC key of the case pseudonyms: at least 32 bytes, given as hexadecimal digits. Raises ParameterError."""
    try:
        key = bytes.fromhex(_read(zones, KEY))
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ParameterError(f"{KEY} is not a key", remedy=f"Set it to at least {2 * KEY_BYTES} hexadecimal digits.") from None
    return key


def synthesis_seed(zones: Zones) -> int:
    """The seed of the synthesis, a whole number from ``CTDC_SEED``. Whoever knows it can undo part of the randomness."""
    text = _read(zones, SEED)
    if not (text.isascii() and text.isdigit() and len(text) <= SEED_DIGITS and int(text).bit_length() <= SEED_BITS):
        raise ParameterError(
            f"{SEED} is not a seed",
            remedy=f"Set it to a whole number of 0 or more, below 2**{SEED_BITS}, that nobody can guess.",
        )
    return int(text)


def generate(zones: Zones) -> None:
    """Make the key and the seed, where none was kept yet, and keep them in the sensitive zone. For demonstrations."""
    for name, value in ((KEY, secrets.token_hex(KEY_BYTES)), (SEED, str(secrets.randbits(SEED_BITS)))):
        path = zones.sensitive / "secrets" / name
        if not path.exists():
            write_bytes(value.encode("ascii"), path)


def _read(zones: Zones, name: str) -> str:
    kept = zones.sensitive / "secrets" / name
    value = os.environ.get(name) or (read_bytes(kept).decode("ascii") if kept.is_file() else "")
    if not value.strip():
        raise ParameterError(
            f"{name} is not set", remedy=f"Set {name} in the environment; `make demo` generates one for demonstrations only."
        )
    return value.strip()
