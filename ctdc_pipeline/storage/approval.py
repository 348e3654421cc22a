"""Sign a candidate and check its signatures: Ed25519, by people whose public keys are configured.

The signed message names the candidate's hash and the approver, so a signature is valid for one candidate and one name only:

    ctdc approval
    candidate: <SHA-256 of manifest.json>
    approver: <name>

Signatures are optional: if no keys are configured, the person who runs `publish` names the approver, and nothing proves it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ctdc_pipeline.errors import ParameterError, ReleaseError
from ctdc_pipeline.storage.files import sha256, staged

APPROVERS = "CTDC_APPROVERS"
"""A folder with the approvers' public keys, one PEM file for each, named after the approver: `head-of-data.pem`."""
NEEDED = "CTDC_APPROVALS_NEEDED"
"""How many approvers must sign; 1 unless set."""
MANIFEST = "manifest.json"
APPROVALS = "approvals.json"
"""The signatures, next to the manifest of a candidate or release. They cover the manifest, so it cannot list this file."""
MOST_NEEDED = 2
_NAME = re.compile(r"[\w][\w .@-]{0,63}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43,86}={1,2}")  # 32 bytes of a key, 64 of a signature
_LARGEST = 1 << 14

Approvers = Mapping[str, bytes]
"""The raw public key of each approver, by name."""


def approvers() -> Approvers:
    """Return the configured approvers; empty if signatures are not used.

    Raises:
        ParameterError: the setting names no usable folder of keys.

    """
    folder = os.environ.get(APPROVERS, "").strip()
    return read_approvers(Path(folder)) if folder else {}


def read_approvers(folder: Path) -> Approvers:
    """Read the approvers' public keys from the PEM files in `folder`.

    Raises:
        ParameterError: there are no keys, a file is not a key, or two names have the same key.

    """
    try:
        keys = {path.stem: _public_key(path) for path in sorted(folder.iterdir()) if path.suffix == ".pem"}
    except OSError:
        keys = {}
    if not keys:
        raise ParameterError(
            "the folder of the approvers' public keys contains no .pem file, or cannot be read",
            remedy=f"Let {APPROVERS} name a folder with one file for each approver, such as head-of-data.pem.",
        )
    if wrong := [name for name in keys if not _NAME.fullmatch(name)]:
        raise ParameterError(
            f"{len(wrong)} approvers' files have no usable name", remedy="Use letters, digits, spaces, . @ - and _."
        )
    if len(set(keys.values())) < len(keys):
        raise ParameterError("two approvers have the same key", remedy="Give each approver a key of their own.")
    return keys


def needed() -> int:
    """Return how many approvers must sign.

    Raises:
        ParameterError: the setting is not a number from 1 to `MOST_NEEDED`.

    """
    text = os.environ.get(NEEDED, "").strip() or "1"
    if text not in map(str, range(1, MOST_NEEDED + 1)):
        raise ParameterError(f"{NEEDED} is not a number of approvals", remedy=f"Set it to a number from 1 to {MOST_NEEDED}.")
    return int(text)


def approve(candidate: Path, *, key: Path, configured: Approvers) -> str:
    """Sign a candidate and add the signature to its file of approvals.

    Args:
        candidate: the folder of the candidate.
        key: the file of the approver's private key.
        configured: the approvers' public keys.

    Returns:
        The approver's name.

    Raises:
        ParameterError: the key belongs to no configured approver.
        ReleaseError: the existing approvals cannot be read.

    """
    private = _private_key(key)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    name = next((name for name, owned in configured.items() if owned == public), None)
    if name is None:
        raise ParameterError(
            "this key belongs to no configured approver", remedy=f"Put its public key into the folder that {APPROVERS} names."
        )
    path = candidate / APPROVALS
    signed = {
        **(read(path) if path.exists() else {}),
        name: {"key": _text(public), "signature": _text(private.sign(message(sha256(candidate / MANIFEST), name)))},
    }
    with staged(path, private=True) as part:
        part.write_bytes(_written(signed))
    return name


def require(candidate: Path, *, digest: str, approver: str) -> None:
    """Refuse a candidate unless enough configured approvers, including `approver`, signed it.

    Signatures by other people or of another candidate do not count. If no keys are configured, nothing is required.

    Args:
        candidate: the folder of the candidate.
        digest: the SHA-256 of its manifest.
        approver: the person named by `publish`.

    Raises:
        ParameterError: approvals are required or present, but no keys are configured.
        ReleaseError: a signature is not valid, or too few people signed.

    """
    configured, wanted = approvers(), needed()
    if not configured:
        if wanted > 1 or (candidate / APPROVALS).exists():
            raise ParameterError(
                "approvals are required or present, but no approvers' keys are configured", remedy=f"Set {APPROVERS} too."
            )
        return
    path = candidate / APPROVALS
    signed = read(path) if path.exists() else {}
    valid = [
        name
        for name, entry in signed.items()
        if configured.get(name) == _bytes(entry["key"]) and signature_holds(digest, name, entry)
    ]
    if len(valid) < len(signed):
        raise ReleaseError(
            f"{len(signed) - len(valid)} approvals are not by a configured approver, or of another candidate",
            remedy=f"Remove {APPROVALS} from the candidate's folder, and let it be approved again.",
        )
    if len(valid) < wanted:
        raise ReleaseError(
            f"{len(valid)} of {wanted} required approvals are present",
            remedy=f"Let approvers look at the candidate and run: ctdc approve {candidate.name} --key FILE.",
        )
    if approver not in valid:
        raise ReleaseError("the named approver did not sign this candidate", remedy=f"Name one who did: {', '.join(valid)}.")


def read(path: Path) -> dict[str, dict[str, str]]:
    """Read the key and signature (base64) of each approver from a file that anybody may have changed.

    The file must equal, byte for byte, what `approve` writes: nothing else can be published in it.

    Raises:
        ReleaseError: the file is anything else.

    """
    try:
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b"{}"
        document: Any = json.loads(content)
        entries = {part["approver"]: {"key": part["key"], "signature": part["signature"]} for part in document["approvals"]}
        texts = [text for part in entries.values() for text in part.values()]
        if all(map(_NAME.fullmatch, entries)) and all(map(_BASE64.fullmatch, texts)) and content == _written(entries):
            return entries
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ReleaseError(f"{APPROVALS} is not a list of approvals by different people", remedy="Remove it, and approve again.")


def _written(signed: Mapping[str, Mapping[str, str]]) -> bytes:
    document = {"approvals": [{"approver": name, **part} for name, part in sorted(signed.items())]}
    return (json.dumps(document, indent=2) + "\n").encode()


def signature_holds(digest: str, name: str, entry: Mapping[str, str]) -> bool:
    """Return whether a signature is valid for this manifest and this approver.

    Args:
        digest: the SHA-256 of the manifest.
        name: the approver.
        entry: the approver's public key and signature, both base64.

    """
    try:
        Ed25519PublicKey.from_public_bytes(_bytes(entry["key"])).verify(_bytes(entry["signature"]), message(digest, name))
    except (InvalidSignature, ValueError):
        return False
    return True


def problems(folder: Path, *, digest: str, trusted: Approvers | None) -> list[str]:
    """List what is wrong with the approvals of a release; empty if nothing is.

    Args:
        folder: the folder of the release.
        digest: the SHA-256 of its manifest.
        trusted: public keys obtained independently of the release; None to check only that the signatures are consistent.

    """
    path = folder / APPROVALS
    if not path.exists():
        return ["nobody signed"] if trusted is not None else []
    try:
        signed = read(path)
    except ReleaseError as error:
        return [error.message]
    wrong = [name for name, entry in signed.items() if not signature_holds(digest, name, entry)]
    keys = [_bytes(entry["key"]) for entry in signed.values()]
    unknown = [name for name, entry in signed.items() if trusted is not None and trusted.get(name) != _bytes(entry["key"])]
    return [
        *(f"{len(wrong)} signatures are not of this manifest, or not by the named approver" for _ in wrong[:1]),
        *("one key signed under several names" for _ in keys[:1] if len(set(keys)) < len(keys)),
        *(f"{len(unknown)} signatures are by nobody whose key was given" for _ in unknown[:1]),
        *("nobody signed" for _ in [0] if not signed),
    ]


def message(digest: str, name: str) -> bytes:
    """Return the message that an approver signs."""
    return f"ctdc approval\ncandidate: {digest}\napprover: {name}\n".encode()


def notice() -> str:
    """Return one line for people that says whether publishing needs signatures."""
    if not approvers():
        return f"not signed: {APPROVERS} is not set, so nothing proves who approved"
    return f"signed by {needed()} or more of the configured approvers"


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ParameterError(
            f"{path.name} is not an Ed25519 private key without a password",
            remedy="Make one with: openssl genpkey -algorithm ed25519 -out approver.pem",
        )
    return private


def _public_key(path: Path) -> bytes:
    try:
        public = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise ParameterError(
            f"{path.name} is not an Ed25519 public key",
            remedy="Make it from the private one with: openssl pkey -in approver.pem -pubout -out NAME.pem",
        )
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
