"""The checksums that a partner sends along, in ``SHA256SUMS`` as coreutils write it: read, and compared with what arrived."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ctdc_pipeline.errors import DeliveryError

CHECKSUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?([^/\\]+)")


def read_checksums(content: bytes, *, partner: str, refresh: str | None = None) -> dict[str, str]:
    """The SHA-256 of each file that the ``content`` of a checksum file lists. Raises DeliveryError if it cannot be read."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = [""]
    listed: dict[str, str] = {}
    for row, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line.rstrip())
        if found is None or listed.get(found[2], found[1].lower()) != found[1].lower():
            raise DeliveryError(
                "the line is not a SHA-256 sum and the name of one file, or another line gives the file another sum",
                remedy=f"Ask the partner to make it anew, in the folder itself: sha256sum * > {CHECKSUMS}",
                partner=partner,
                refresh=refresh,
                file=CHECKSUMS,
                row=row,
            )
        listed[found[2]] = found[1].lower()
    return listed


def match_checksums(listed: Mapping[str, str], found: Mapping[str, str], *, partner: str, refresh: str | None = None) -> None:
    """Raise DeliveryError unless the SHA-256 of every file ``found`` is as ``listed``, and no file is missing or extra.

    The checksum file itself is not one of them.
    """
    for name in sorted((found.keys() | listed.keys()) - {CHECKSUMS}):
        if name not in found:
            said, remedy = f"{CHECKSUMS} lists a file that is not there", "Land the missing file."
        elif name not in listed:
            said, remedy = f"the file is not in {CHECKSUMS}", "List it or remove it."
        elif found[name] != listed[name]:
            said, remedy = f"the file is not what {CHECKSUMS} says", "Send it again; it was damaged on the way."
        else:
            continue
        raise DeliveryError(said, remedy=remedy, partner=partner, refresh=refresh, file=name)
