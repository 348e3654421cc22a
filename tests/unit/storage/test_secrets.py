"""The pseudonym key and the seed: never weak, never readable by others, never made up in silence."""

from pathlib import Path

import pytest

from ctdc_pipeline.errors import ParameterError
from ctdc_pipeline.storage import secrets
from ctdc_pipeline.storage.zones import Zones


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zones:
    """An empty data home, and an environment without secrets."""
    for name in (secrets.KEY, secrets.SEED):
        monkeypatch.delenv(name, raising=False)
    return Zones(tmp_path).prepare()


def test_a_missing_secret_is_an_error(zones: Zones) -> None:
    """A key made up in production would break every pseudonym at the next refresh."""
    with pytest.raises(ParameterError, match="CTDC_PSEUDONYM_KEY"):
        secrets.pseudonym_key(zones)
    with pytest.raises(ParameterError, match="CTDC_SEED"):
        secrets.synthesis_seed(zones)


@pytest.mark.parametrize("weak", ["abc", "00" * 31, "not hexadecimal, though long enough to be a key of 32 bytes........"])
def test_a_weak_key_is_refused_and_not_quoted(zones: Zones, monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    """A short key can be tried out, and with it every pseudonym."""
    monkeypatch.setenv(secrets.KEY, weak)
    with pytest.raises(ParameterError) as caught:
        secrets.pseudonym_key(zones)
    assert weak not in str(caught.value)


@pytest.mark.parametrize("wrong", ["-1", "1.5", "seed", "²", str(1 << 63), "9" * 5000])
def test_a_seed_is_a_whole_number(zones: Zones, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Anything else would fail deep in the synthesis."""
    monkeypatch.setenv(secrets.SEED, wrong)
    with pytest.raises(ParameterError):
        secrets.synthesis_seed(zones)


def test_every_seed_below_the_limit_is_taken(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed of an installation must stay good: with another one the next release is made anew."""
    monkeypatch.setenv(secrets.SEED, str((1 << 63) - 1))
    assert secrets.synthesis_seed(zones) == (1 << 63) - 1


def test_generated_secrets_are_private_and_stay(zones: Zones) -> None:
    """A second demonstration over the same data must find the same pseudonyms."""
    secrets.generate(zones)
    before = secrets.pseudonym_key(zones), secrets.synthesis_seed(zones)
    secrets.generate(zones)

    assert (secrets.pseudonym_key(zones), secrets.synthesis_seed(zones)) == before
    folder = zones.sensitive / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_the_environment_comes_first(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key left over from a demonstration must not be used where one is configured."""
    secrets.generate(zones)
    monkeypatch.setenv(secrets.KEY, "ab" * 32)
    assert secrets.pseudonym_key(zones) == b"\xab" * 32
