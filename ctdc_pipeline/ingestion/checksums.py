"""Read a partner's checksum file, and compare it with the files.

The file is ``SHA256SUMS``, as coreutils write it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ctdc_pipeline.errors import DeliveryError

CHECKSUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?([^/\\]+)")


def read_checksums(content: bytes, *, partner: str, refresh: str | None = None) -> dict[str, str]:
    """Read a checksum file.

    Args:
        content: The bytes of the checksum file.
        partner: For messages.
        refresh: For messages.

    Returns:
        The SHA-256 of each listed file in lower-case hexadecimal, by file name.

    Raises:
        DeliveryError: If a line is not a checksum line, or two lines give one file different sums.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = [""]
    listed: dict[str, str] = {}
    for row, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line.rstrip())
        if match is None or listed.get(match[2], match[1].lower()) != match[1].lower():
            raise DeliveryError(
                "the line is not a SHA-256 sum and the name of one file, or another line gives the file another sum",
                remedy=f"Ask the partner to create it again, inside the folder: sha256sum * > {CHECKSUMS}",
                partner=partner,
                refresh=refresh,
                file=CHECKSUMS,
                row=row,
            )
        listed[match[2]] = match[1].lower()
    return listed


def match_checksums(listed: Mapping[str, str], arrived: Mapping[str, str], *, partner: str, refresh: str | None = None) -> None:
    """Check that the files are exactly those listed, with these checksums.

    Args:
        listed: SHA-256 by file name, from the checksum file.
        arrived: SHA-256 by file name, of the files that arrived. The checksum file itself is ignored.
        partner: For messages.
        refresh: For messages.

    Raises:
        DeliveryError: If a file is missing, extra or different.
    """
    for name in sorted((arrived.keys() | listed.keys()) - {CHECKSUMS}):
        if name not in arrived:
            message, remedy = f"{CHECKSUMS} lists a file that is missing", "Land the missing file."
        elif name not in listed:
            message, remedy = f"the file is not in {CHECKSUMS}", "List it or remove it."
        elif arrived[name] != listed[name]:
            message, remedy = f"the file does not match its sum in {CHECKSUMS}", "Send it again; it was damaged on the way."
        else:
            continue
        raise DeliveryError(message, remedy=remedy, partner=partner, refresh=refresh, file=name)
