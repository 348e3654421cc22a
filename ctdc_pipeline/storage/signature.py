"""A detached Ed25519 signature of a release's manifest, which in turn names every file by its hash. Optional.

The signature is the 64 bytes alone, so that OpenSSL can check it without this software.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ctdc_pipeline.errors import ParameterError

SIGNING_KEY = "CTDC_SIGNING_KEY"
SUFFIX = ".sig"


def sign_as_configured(manifest: Path) -> None:
    """Sign ``manifest`` with the private key whose path ``CTDC_SIGNING_KEY`` holds, if it is set. Raises as ``sign``."""
    if key := os.environ.get(SIGNING_KEY):
        sign(manifest, Path(key))


def sign(manifest: Path, key: Path) -> Path:
    """Write the signature of ``manifest`` beside it, made with the PEM private key in file ``key``.

    Raises ParameterError for what is no such key, OSError when the disk refuses.
    """
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ParameterError(
            f"{SIGNING_KEY} names no Ed25519 private key without a password",
            remedy="Make one with: openssl genpkey -algorithm ed25519 -out signing.pem",
        )
    signature = manifest.with_name(manifest.name + SUFFIX)
    signature.write_bytes(private.sign(manifest.read_bytes()))
    return signature


def check(manifest: Path, signature: Path, public_key: Path) -> bool:
    """Whether ``signature`` is of ``manifest`` as it is now, by the owner of the PEM ``public_key``.

    Raises ParameterError for what is no such key, OSError for files that cannot be read.
    """
    try:
        public = load_pem_public_key(public_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise ParameterError(
            f"{public_key.name} is no Ed25519 public key",
            remedy="Make it from the private one with: openssl pkey -in signing.pem -pubout -out public.pem",
        )
    try:
        public.verify(signature.read_bytes(), manifest.read_bytes())
    except InvalidSignature:
        return False
    return True
