"""Landing against real servers: an OpenSSH server, an S3 server over HTTP, and connections that are cut at any point."""

import json
import logging
import os
import stat
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest

from ctdc_pipeline.errors import CtdcError, DeliveryError, ParameterError, ResourceError
from ctdc_pipeline.ingestion import protocols, sftp
from ctdc_pipeline.ingestion.landing import Landing
from tests.support.servers import LOOPBACK, SSHD, Proxy, known_host, password_sftp, proxied, sshd, user

BUCKET = "landing"
SECRET = "pa55-word-of-nobody"  # noqa: S105 (planted, to be searched for)
FILES = {"cases.csv": os.urandom(150_000), "list.csv": b"id\n1\n", "notes.txt": b""}
CUTS = 12


@dataclass(frozen=True)
class Place:
    """A landing root behind a proxy, and how its owner puts files there."""

    kind: Literal["s3", "sftp"]
    landing: Landing
    proxy: Proxy
    keys: Path
    folder: Path
    s3: Any = None

    def put(self, path: str, content: bytes) -> None:
        if self.s3:
            self.s3.put_object(Bucket=BUCKET, Key=f"in/{path}", Body=content)
        else:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)

    def deliver(self, folder: str = "polaris/2021-H1", *, sums: bool = False) -> None:
        for name, content in FILES.items():
            self.put(f"{folder}/{name}", content)
        if sums:
            self.put(f"{folder}/SHA256SUMS", "".join(f"{sha256(c).hexdigest()}  {n}\n" for n, c in FILES.items()).encode())


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[int, Path]]:
    if SSHD is None:
        pytest.skip("there is no sshd on this machine: install openssh-server")
    keys = tmp_path_factory.mktemp("ssh")
    with sshd(keys) as port:
        yield port, keys


@pytest.fixture(scope="session")
def _moto() -> Generator[int]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(LOOPBACK, port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def over_sftp(_sshd: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Place]:
    port, keys = _sshd
    folder = tmp_path / "in"
    folder.mkdir()
    with proxied(port) as proxy:
        known = tmp_path / "known_hosts"
        known.write_text(known_host(proxy.port, keys / "host.pub"))
        monkeypatch.setenv(sftp.KNOWN_HOSTS, str(known))
        monkeypatch.setenv(sftp.KEY_FILE, str(keys / "user"))
        url = f"sftp://{user()}@{LOOPBACK}:{proxy.port}{folder}"
        yield Place("sftp", Landing(url, first_wait=0.01), proxy, keys, folder)


@pytest.fixture
def over_s3(_moto: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Place]:
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    client: Any = boto3.client("s3", endpoint_url=f"http://{LOOPBACK}:{_moto}")
    client.create_bucket(Bucket=BUCKET)
    with proxied(_moto) as proxy:
        monkeypatch.setenv(protocols.S3_ENDPOINT, f"http://{LOOPBACK}:{proxy.port}")
        yield Place("s3", Landing(f"s3://{BUCKET}/in", first_wait=0.01), proxy, tmp_path, tmp_path, client)
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["sftp", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(f"over_{request.param}")


def target(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "copy"


def assert_whole(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "SHA256SUMS"} == FILES


def test_a_delivery_comes_whole_and_private(place: Place, tmp_path: Path) -> None:
    """What works with a local folder only is of no use to a partner far away."""
    place.deliver("polaris/2021-H1", sums=True)
    place.deliver("polaris/2020")
    place.deliver("iom_mimosa/2021-06")
    place.put("iom_mimosa/latest/cases.csv", b"x")
    found = place.landing.landed()
    assert [one.key for one in found] == ["iom_mimosa/2021-06", "iom_mimosa/latest", "polaris/2020", "polaris/2021-H1"]
    assert [place.landing.matches(one) for one in found] == [False, False, False, True]
    assert place.landing.find("polaris", "2021-H1") == found[-1]
    assert place.landing.find("polaris", "2019") is None

    copy = target(tmp_path)
    assert {path.name for path in place.landing.fetch(found[-1], copy)} == {*FILES, "SHA256SUMS"}
    assert_whole(copy)
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700


def test_nothing_has_landed_yet(place: Place) -> None:
    """A new partner's empty root is no failure."""
    if place.kind == "s3":
        place.put("", b"")
    assert place.landing.landed() == ()


def test_whatever_is_cut_there_is_all_or_nothing(place: Place, tmp_path: Path) -> None:
    """Half a file that passes for a whole one loses cases without a word."""
    place.deliver(sums=True)
    (landed,) = place.landing.landed()
    before = place.proxy.passed
    copy = target(tmp_path)
    place.landing.fetch(landed, copy)
    total = place.proxy.passed - before
    once = replace(place.landing, attempts=1)
    cut = 0
    for number in range(CUTS):
        copy = tmp_path / "out" / f"copy{number}"
        place.proxy.cuts = [total * number // CUTS] * 20
        told = ""
        try:
            once.fetch(landed, copy)
        except ResourceError as error:
            told = str(error)
        if told:
            cut += 1
            assert "nothing was kept" in told
            left = {path.name for path in copy.parent.iterdir()}
            assert not {copy.name} & left
            assert not any(name.startswith(".") for name in left), "what came before the cut stays on the disk"
        else:
            assert_whole(copy)
        place.proxy.cuts = [total * number // CUTS]
        place.landing.fetch(landed, tmp_path / "out" / f"again{number}")
        assert_whole(tmp_path / "out" / f"again{number}")
    assert cut, "no cut hit anything"


def test_a_server_that_stays_away_is_told_after_the_last_attempt(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trying for ever hides that nothing arrives; and what is told must hold no credential."""
    place.deliver()
    (landed,) = place.landing.landed()
    place.proxy.close()
    with pytest.raises(ResourceError, match="5 times") as told:
        place.landing.fetch(landed, target(tmp_path))
    assert len([one for one in caplog.records if "attempt" in one.message]) == 4
    assert SECRET not in str(told.value) + caplog.text
    assert f"{user()}@" not in str(told.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_server_that_falls_silent_is_left(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stays open and says nothing would hold the run, and its lock on the zone, for ever."""
    place.deliver()
    (landed,) = place.landing.landed()
    monkeypatch.setattr(protocols, "READ_SECONDS", 0.5)
    place.proxy.stalls = True
    place.proxy.cuts = [60_000] * 20
    with pytest.raises(ResourceError, match="could not be reached, or broke off, 2 times"):
        replace(place.landing, attempts=2).fetch(landed, target(tmp_path))
    assert list((tmp_path / "out").iterdir()) == []


def test_what_changes_under_the_copy_is_refused(place: Place, tmp_path: Path) -> None:
    """A file still being uploaded would be taken as it is at that moment."""
    place.deliver()
    (landed,) = place.landing.landed()
    place.put("polaris/2021-H1/list.csv", b"id\n1\n2\n")
    with pytest.raises(DeliveryError, match=r"changed.*Wait"):
        place.landing.fetch(landed, target(tmp_path))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_sum_is_refused(place: Place, tmp_path: Path) -> None:
    """Damage on the partner's side of the upload shows in the checksums only."""
    place.deliver(sums=True)
    place.put("polaris/2021-H1/list.csv", b"id\n2\n")
    (landed,) = place.landing.landed()
    assert not place.landing.matches(landed)
    with pytest.raises(DeliveryError, match=r"2021-H1, file list\.csv: the file does not match its sum in SHA256SUMS"):
        place.landing.fetch(landed, target(tmp_path))


def test_a_root_that_is_not_there(place: Place) -> None:
    """A mistyped or unmounted root must not look like partners who send nothing."""
    url = f"s3://{BUCKET}-other/in" if place.kind == "s3" else f"{place.landing.url}-other"
    before = place.proxy.connections
    with pytest.raises(ResourceError, match=r"is not there\. Make it"):
        replace(place.landing, url=url).landed()
    assert place.proxy.connections - before == 1, "what does not pass must not be tried again"


def refused(place: Place) -> str:
    """What is told by a landing root that does not let us in, after one attempt."""
    with pytest.raises(CtdcError) as told:
        place.landing.landed()
    assert place.proxy.connections <= 1, "a wrong credential tried again and again locks the account"
    assert isinstance(told.value, ResourceError | ParameterError)
    return str(told.value)


def test_an_unknown_server_is_refused(over_sftp: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stands in between would be given our files' names and could give us theirs; fsspec's own accepts anybody."""
    monkeypatch.setenv(sftp.KNOWN_HOSTS, os.devnull)
    assert "is not known (ssh-ed25519 SHA256:" in (told := refused(over_sftp))
    assert "ssh-keyscan" in told
    assert (
        not (Path.home() / ".ssh/known_hosts").exists()
        or str(over_sftp.proxy.port) not in (Path.home() / ".ssh/known_hosts").read_text()
    )


def test_a_server_with_another_key_is_refused(over_sftp: Place, tmp_path: Path) -> None:
    """The key of a known server does not change by itself."""
    (tmp_path / "known_hosts").write_text(known_host(over_sftp.proxy.port, over_sftp.keys / "stranger.pub"))
    assert "shows another key than the known one" in refused(over_sftp)


def test_a_key_that_the_server_does_not_know(over_sftp: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data team has to know that it is the key, not the network."""
    monkeypatch.setenv(sftp.KEY_FILE, str(over_sftp.keys / "stranger"))
    assert "refused us (AuthenticationException)" in refused(over_sftp)


def test_a_password_that_the_server_does_not_take(over_sftp: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paramiko has an error of its own for it; the password must be in no message."""
    monkeypatch.delenv(sftp.KEY_FILE)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(over_sftp.folder))
    monkeypatch.setenv(sftp.PASSWORD, SECRET)
    assert "refused us (BadAuthenticationType)" in (told := refused(over_sftp))
    assert sftp.PASSWORD in told
    assert SECRET not in told


def test_a_password_is_a_way_in(over_sftp: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers know passwords only, and no test of a key says that they can be reached."""
    key = over_sftp.keys / "host"
    with password_sftp(key, user="partner", password=SECRET) as port:
        (tmp_path / "known_hosts").write_text(known_host(port, key.with_suffix(".pub")))
        monkeypatch.delenv(sftp.KEY_FILE)
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        there = Landing(f"sftp://partner@{LOOPBACK}:{port}/in", attempts=1)
        monkeypatch.setenv(sftp.PASSWORD, SECRET)
        assert there.landed() == ()
        monkeypatch.setenv(sftp.PASSWORD, "wrong")
        with pytest.raises(ResourceError, match=r"refused us \(AuthenticationException\)"):
            there.landed()


def test_an_agent_is_a_way_in(over_sftp: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a passphrase has no other way; with an agent that holds another key, the server says no."""
    over_sftp.deliver()
    monkeypatch.delenv(sftp.KEY_FILE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.01)
        subprocess.run(["ssh-add", "-q", over_sftp.keys / "stranger"], check=True)
        assert "refused us (AuthenticationException)" in refused(over_sftp)
        subprocess.run(["ssh-add", "-q", over_sftp.keys / "user"], check=True)
        assert [one.key for one in over_sftp.landing.landed()] == ["polaris/2021-H1"]
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize("kind", ["missing", "no key", "with a passphrase"])
def test_a_key_file_that_is_none(over_sftp: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """A mistyped setting is no fault of the server."""
    key = tmp_path / "key"
    if kind == "no key":
        key.write_text("not a key")
    elif kind == "with a passphrase":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", SECRET, "-f", key], check=True)
    monkeypatch.setenv(sftp.KEY_FILE, str(key))
    assert "names no private key that can be read" in refused(over_sftp)


def test_no_key_at_all(over_sftp: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paramiko calls this a broken connection, and it would be tried again."""
    monkeypatch.delenv(sftp.KEY_FILE)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sftp.KEY_FILE in refused(over_sftp)


def test_no_credentials_for_s3(over_s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them botocore looks in many places; the message has to say where ours go."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "may not be read (NoCredentialsError)" in refused(over_s3)


@contextmanager
def forbidding(place: Place, monkeypatch: pytest.MonkeyPatch, action: str) -> Generator[None]:
    """Be a user whom S3 permits everything but ``action``; signatures and rights are checked as long."""
    import boto3
    from moto.core.authorization import enable_iam_authentication

    iam: Any = boto3.client("iam", endpoint_url=place.s3.meta.endpoint_url)
    name = f"nobody-{action.partition(':')[2]}"
    iam.create_user(UserName=name)
    rights = [{"Effect": effect, "Action": what, "Resource": "*"} for effect, what in (("Allow", "s3:*"), ("Deny", action))]
    document = json.dumps({"Version": "2012-10-17", "Statement": rights})
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    with monkeypatch.context() as patch, enable_iam_authentication():
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        yield


def test_what_s3_does_not_permit(over_s3: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten permission is settled by who owns the bucket, so it must not look like a network that fails, or no delivery."""
    over_s3.deliver()
    (landed,) = over_s3.landing.landed()
    with forbidding(over_s3, monkeypatch, "s3:GetObject"), pytest.raises(DeliveryError, match="a file may not be read"):
        over_s3.landing.fetch(landed, target(tmp_path))
    with forbidding(over_s3, monkeypatch, "s3:ListBucket"), pytest.raises(ResourceError, match=r"may not be read.*credentials"):
        over_s3.landing.landed()
    with forbidding(over_s3, monkeypatch, "s3:PutObject"):
        assert [one.key for one in over_s3.landing.landed()] == ["polaris/2021-H1"], "the rights that docs/landing.md asks for"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with pytest.raises(ResourceError, match="may not be read"):
            over_s3.landing.landed()
    assert list((tmp_path / "out").iterdir()) == []


def test_links_on_a_server_are_not_followed(over_sftp: Place, tmp_path: Path) -> None:
    """A link could make us take in another partner's file, or one of the server's own."""
    over_sftp.deliver()
    (tmp_path / "other.csv").write_text("secret")
    (over_sftp.folder / "polaris/2021-H1/other.csv").symlink_to(tmp_path / "other.csv")
    (over_sftp.folder / "elsewhere").symlink_to(tmp_path)
    stray, landed = over_sftp.landing.landed()
    assert (stray.key, [entry.name for entry in stray.files]) == ("/", ["elsewhere"])
    with pytest.raises(DeliveryError, match=r"file other\.csv: a link"):
        over_sftp.landing.fetch(landed, target(tmp_path))


def test_what_is_no_file_on_a_server(over_sftp: Place, tmp_path: Path) -> None:
    """To read a pipe waits for whoever writes into it."""
    over_sftp.deliver()
    os.mkfifo(over_sftp.folder / "polaris/2021-H1/pipe.csv")
    (landed,) = over_sftp.landing.landed()
    with pytest.raises(DeliveryError, match=r"file pipe\.csv: .*something else than a file"):
        over_sftp.landing.fetch(landed, target(tmp_path))


def test_a_name_that_is_not_utf8_on_a_server(over_sftp: Place, tmp_path: Path) -> None:
    """Paramiko gives such a name as bytes, on which fsspec fails, and with it every other delivery."""
    over_sftp.deliver()
    (over_sftp.folder / os.fsdecode(b"polaris/2021-H1/caf\xe9.csv")).touch()
    (landed,) = over_sftp.landing.landed()
    with pytest.raises(DeliveryError, match=r"refresh 2021-H1: a name is not UTF-8"):
        over_sftp.landing.fetch(landed, target(tmp_path))


@pytest.mark.parametrize("key", ["../list.csv", "/list.csv", "sub/list.csv", "a\\b.csv", "a\tb.csv", "x" * 250])
def test_keys_of_s3_that_are_no_file_names(over_s3: Place, tmp_path: Path, key: str) -> None:
    """A key is any text, and a copy named by it could land outside of its folder."""
    over_s3.deliver()
    over_s3.put(f"polaris/2021-H1/{key}", b"x")
    (landed,) = over_s3.landing.landed()
    with pytest.raises(DeliveryError, match=r"refresh 2021-H1.*Ask the partner for plain files"):
        over_s3.landing.fetch(landed, target(tmp_path))
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_console_leaves_for_a_folder_is_no_file(over_s3: Place, tmp_path: Path) -> None:
    """The web console of S3 makes an empty object for each folder."""
    over_s3.put("polaris/2021-H1/", b"")
    over_s3.deliver()
    (landed,) = over_s3.landing.landed()
    assert {entry.name for entry in landed.files} == {*FILES}
    over_s3.landing.fetch(landed, copy := target(tmp_path))
    assert_whole(copy)


def test_nobody_logs_a_credential(place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Libraries log their requests, and compute logs are kept."""
    caplog.set_level(logging.INFO)
    place.deliver()
    (landed,) = place.landing.landed()
    place.landing.fetch(landed, target(tmp_path))
    assert SECRET not in caplog.text
    assert (place.keys / "user").read_text().splitlines()[1] not in caplog.text if place.kind == "sftp" else True
