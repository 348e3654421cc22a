"""Approval that can be checked: only signatures of this candidate, by different configured people, let it be published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ctdc_pipeline.cli.main import cli
from ctdc_pipeline.errors import CtdcError, ParameterError, ReleaseError
from ctdc_pipeline.release.candidate import Release, make_candidate
from ctdc_pipeline.release.publication import publish, sign_candidate, withdraw
from ctdc_pipeline.storage import approval
from ctdc_pipeline.storage.approval import APPROVALS, APPROVERS, NEEDED, read_approvers
from ctdc_pipeline.storage.files import sha256
from ctdc_pipeline.storage.zones import Zones
from ctdc_pipeline.verification.release_folder import verify
from tests.support.releases import LAST_YEAR, LENGTH, K, fill
from tests.unit.storage.test_signature import keys


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Zones:
    zones = fill(Zones(tmp_path_factory.mktemp("home") / "home").prepare())
    make_candidate(zones, version="1", k=K, length=LENGTH, last_year=LAST_YEAR)
    return zones


@pytest.fixture
def zones(_home: Zones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zones:
    """A home in which candidate 1 waits, and the keys of two approvers, ada and ben, are configured."""
    shutil.copytree(_home.root, tmp_path / "home")
    (tmp_path / "approvers").mkdir()
    for name in ("ada", "ben", "mallory"):
        _, public = keys(tmp_path, name)
        if name != "mallory":
            public.rename(tmp_path / "approvers" / f"{name}.pem")
    monkeypatch.setenv(APPROVERS, str(tmp_path / "approvers"))
    return Zones(tmp_path / "home")


def key(zones: Zones, name: str) -> Path:
    return zones.root.parent / f"{name}.pem"


def sign(zones: Zones, *names: str, version: str = "1") -> Path:
    for name in names:
        sign_candidate(zones, version, key=key(zones, name))
    return zones.candidates / version / APPROVALS


def release(zones: Zones, *, approver: str = "ada", version: str = "1") -> Release:
    digest = sha256(zones.candidates / version / "manifest.json")
    return publish(zones, candidate=digest, approver=approver, reason="yearly", k=K)


def change(path: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the list of approvals, written as the software writes it."""
    said = json.loads(path.read_text())
    edit(said["approvals"])
    path.write_text(json.dumps(said, indent=2) + "\n")


def test_a_signed_candidate_is_published_with_its_signatures(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader can check who approved without trusting the publisher's word."""
    monkeypatch.setenv(NEEDED, "2")
    sign(zones, "ada", "ben")
    done = release(zones)

    assert (done.folder / APPROVALS).stat().st_mode & 0o777 == 0o644
    trusting = verify(done.folder, approvers=zones.root.parent / "approvers")
    assert trusting.holds, trusting.failed
    assert verify(done.folder).holds, "without the keys, the signatures are still checked against those beside them"


def test_without_keys_it_is_published_as_before_and_said(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that never configured keys goes on, and is told what that means."""
    monkeypatch.delenv(APPROVERS)
    assert "nothing proves who approved" in approval.notice()
    done = release(zones)
    assert not (done.folder / APPROVALS).exists()
    asked = verify(done.folder, approvers=zones.root.parent / "approvers")
    assert "approvals" in asked.failed, "who gives keys wants signatures"


def test_signatures_that_nobody_would_check_are_not_published(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking the keys out of the configuration must not turn a signed candidate into an unchecked one unseen."""
    sign(zones, "ada")
    monkeypatch.delenv(APPROVERS)
    refused(zones, "no approvers' keys")


def refused(zones: Zones, why: str, *, approver: str = "ada", version: str = "1") -> None:
    with pytest.raises(CtdcError) as refusal:
        release(zones, approver=approver, version=version)
    assert why in str(refusal.value)
    assert not [path for path in zones.releases.iterdir() if path.name == version and (path / "manifest.json").exists()]


def test_nobody_signed(zones: Zones) -> None:
    """Naming an approver is not enough once keys are configured."""
    refused(zones, "0 of 1")


def test_the_named_approver_must_have_signed(zones: Zones) -> None:
    """Ben's signature does not let somebody publish in Ada's name, nor in an unknown name."""
    sign(zones, "ben")
    refused(zones, "did not sign", approver="ada")
    refused(zones, "did not sign", approver="Ben")


def test_a_key_of_nobody_who_is_configured_signs_nothing(zones: Zones) -> None:
    """Anybody can make a key."""
    with pytest.raises(ParameterError, match="no configured approver"):
        sign(zones, "mallory")


def test_an_unknown_key_under_a_known_name_does_not_count(zones: Zones) -> None:
    """Written by hand: mallory's key and signature under ada's name."""
    written = sign(zones, "ada")
    other = zones.root.parent / "others"
    other.mkdir()
    shutil.copy(zones.root.parent / "mallory.pub.pem", other / "ada.pem")
    folder = written.parent
    written.unlink()
    approval.approve(folder, key=key(zones, "mallory"), configured=read_approvers(other))
    refused(zones, "not by a configured approver")


def test_a_signature_of_another_candidate_does_not_count(zones: Zones) -> None:
    """Ada signed an older candidate; the same signature is put beside a newer one."""
    signed = sign(zones, "ada")
    make_candidate(zones, version="2", k=K, length=LENGTH, last_year=LAST_YEAR)
    shutil.copy(signed, zones.candidates / "2" / APPROVALS)
    refused(zones, "of another candidate", version="2")


def test_a_signature_is_not_replayed_after_a_withdrawal(zones: Zones) -> None:
    """The approval of a withdrawn release does not publish its successor, though both hold the same records."""
    sign(zones, "ada")
    done = release(zones)
    kept = (done.folder / APPROVALS).read_bytes()
    withdraw(zones, "1", reason="test")
    make_candidate(zones, version="2", k=K, length=LENGTH, last_year=LAST_YEAR)
    (zones.candidates / "2" / APPROVALS).write_bytes(kept)
    refused(zones, "of another candidate", version="2")


def test_two_signatures_are_by_two_people(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person cannot approve twice: by signing again, by repeating the entry, or by a second name for the same key."""
    monkeypatch.setenv(NEEDED, "2")
    written = sign(zones, "ada", "ada")
    refused(zones, "1 of 2")
    change(written, lambda entries: entries.append(entries[0]))
    refused(zones, "by different people")
    change(written, lambda entries: entries.pop())
    change(written, lambda entries: entries.append({**entries[0], "approver": "ben"}))
    refused(zones, "not by a configured approver")
    folder = zones.root.parent / "approvers"
    shutil.copy(folder / "ada.pem", folder / "eva.pem")
    with pytest.raises(ParameterError, match="the same key"):
        read_approvers(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda entries: entries[0].update(approver="ben"),
        lambda entries: entries[0].update(signature=entries[0]["key"]),
        lambda entries: entries[0].update(key=entries[0]["signature"]),
        lambda entries: entries[0].update(note="case 4711"),
        lambda entries: entries[0].update(approver="ada\nadmin"),
        lambda entries: entries.clear(),
    ],
    ids=["name", "signature", "key", "more than is told", "line break", "none"],
)
def test_what_was_tampered_with_is_neither_published_nor_verified(zones: Zones, edit: Callable[[list[Any]], object]) -> None:
    """Before publishing and after: a changed name, key or signature, or a text that was smuggled in."""
    signed = sign(zones, "ada")
    before = signed.read_bytes()
    change(signed, edit)
    with pytest.raises(ReleaseError):
        release(zones)
    signed.write_bytes(before)
    done = release(zones)
    assert verify(done.folder).holds
    change(done.folder / APPROVALS, edit)
    assert "approvals" in verify(done.folder).failed


def test_verify_tells_of_a_release_that_other_people_signed(zones: Zones) -> None:
    """A forger signs with keys of their own; whoever has the approvers' keys sees it, and a renamed approver too."""
    sign(zones, "ada")
    done = release(zones)
    mine = zones.root.parent / "mine"
    mine.mkdir()
    shutil.copy(zones.root.parent / "mallory.pub.pem", mine / "ada.pem")
    assert verify(done.folder, approvers=zones.root.parent / "approvers").holds
    (done.folder / APPROVALS).unlink()
    approval.approve(done.folder, key=key(zones, "mallory"), configured=read_approvers(mine))
    assert "approvals" in verify(done.folder, approvers=zones.root.parent / "approvers").failed
    said = json.loads((done.folder / "publication.json").read_text())
    (done.folder / "publication.json").write_text(json.dumps({**said, "approver": "ben"}))
    assert "approvals" in verify(done.folder).failed


def test_a_changed_candidate_is_not_signed(zones: Zones) -> None:
    """Whoever signs a manifest signs the files that it names."""
    page = zones.candidates / "1" / "showcase.html"
    page.write_text(page.read_text() + " ")
    with pytest.raises(ReleaseError, match="not those"):
        sign(zones, "ada")
    assert not (page.parent / APPROVALS).exists()


@pytest.mark.parametrize("value", ["0", "3", "two", "-1", "1.0"])
def test_a_number_of_approvals_that_makes_no_sense_is_refused(zones: Zones, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Zero would turn the check off unseen."""
    monkeypatch.setenv(NEEDED, value)
    sign(zones, "ada")
    with pytest.raises(ParameterError, match=NEEDED):
        release(zones)


def test_two_approvals_and_no_keys_is_a_mistake(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asked for approvals and set half of it."""
    monkeypatch.setenv(NEEDED, "2")
    monkeypatch.delenv(APPROVERS)
    with pytest.raises(ParameterError, match="no approvers' keys"):
        release(zones)


def test_a_folder_without_usable_keys_is_refused(zones: Zones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is missing or empty must not mean that nobody has to sign."""
    for folder in (tmp_path / "absent", tmp_path / "empty"):
        monkeypatch.setenv(APPROVERS, str(folder))
        with pytest.raises(ParameterError, match=r"contains no \.pem file"):
            release(zones)
        (tmp_path / "empty").mkdir(exist_ok=True)
    other = generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "empty" / "rsa.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ParameterError, match="not an Ed25519 public key"):
        release(zones)


def test_the_command_signs_by_version_or_hash(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the documents tell an approver to type."""
    monkeypatch.setenv("CTDC_HOME", str(zones.root))
    for said, name in (("1", "ada"), (sha256(zones.candidates / "1" / "manifest.json"), "ben")):
        done = CliRunner().invoke(cli, ["approve", said, "--key", str(key(zones, name))])
        assert done.exit_code == 0, done.output
    assert sorted(approval.read(zones.candidates / "1" / APPROVALS)) == ["ada", "ben"]
    wrong = CliRunner().invoke(cli, ["approve", "2", "--key", str(key(zones, "ada"))])
    assert isinstance(wrong.exception, ReleaseError)
