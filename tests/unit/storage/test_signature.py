"""Signatures of releases: made when there is a key, found wrong when anything changed, and checked by OpenSSL alike."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.storage.signature import SIGNING_KEY, check, sign, sign_as_configured


def keys(folder: Path, name: str = "signing") -> tuple[Path, Path]:
    """A pair of keys as PEM files: private, public."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text('{"version": "1"}\n')
    return path


def test_a_signature_is_of_one_manifest_by_one_key(manifest: Path, tmp_path: Path) -> None:
    """A signature that fits another manifest, or another key, proves nothing."""
    private, public = keys(tmp_path)
    signed = sign(manifest, private)

    assert signed.name == "manifest.json.sig"
    assert check(manifest, signed, public)
    assert not check(manifest, signed, keys(tmp_path, "other")[1])
    manifest.write_text('{"version": "2"}\n')
    assert not check(manifest, signed, public)
    signed.write_bytes(b"short")
    assert not check(manifest, signed, public)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_openssl_makes_the_key_and_checks_the_signature(manifest: Path, tmp_path: Path) -> None:
    """Who does not trust this software must be able to do without it, by the commands of docs/verify.md."""
    private, public = tmp_path / "signing.pem", tmp_path / "ctdc.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    signed = sign(manifest, private)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", manifest, "-sigfile", signed]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    manifest.write_text("{}")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0


def test_without_a_key_nothing_is_signed(manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Signing is optional; a release must not fail, nor get an empty signature, for want of a key."""
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    sign_as_configured(manifest)
    assert not (tmp_path / "manifest.json.sig").exists()
    monkeypatch.setenv(SIGNING_KEY, str(keys(tmp_path)[0]))
    sign_as_configured(manifest)
    assert (tmp_path / "manifest.json.sig").stat().st_size == 64


def test_another_kind_of_key_is_an_error_that_says_how_to_make_one(manifest: Path, tmp_path: Path) -> None:
    """A release that its publisher thinks is signed, and is not."""
    wrong = tmp_path / "rsa.pem"
    key = generate_private_key(public_exponent=65537, key_size=2048)
    wrong.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for path in (wrong, tmp_path / "absent.pem", manifest, keys(tmp_path)[1]):
        with pytest.raises(ParameterError, match="openssl genpkey -algorithm ed25519"):
            sign(manifest, path)
    assert not (tmp_path / "manifest.json.sig").exists()
    with pytest.raises(ParameterError, match="-pubout"):
        check(manifest, manifest, keys(tmp_path)[0])
