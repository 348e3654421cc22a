"""SFTP as ``landing`` needs it: fsspec's, but with the server's key checked, with time limits, and links told from files.

fsspec's own accepts the key of any server it has not seen before and waits for ever. Needs the extra ``sftp``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from fsspec.spec import AbstractFileSystem

from ctdc_pipeline.errors import ParameterError, ResourceError

KEY_FILE = "CTDC_LANDING_SSH_KEY"
KNOWN_HOSTS = "CTDC_LANDING_KNOWN_HOSTS"
PASSWORD = "CTDC_LANDING_SSH_PASSWORD"  # noqa: S105 (a name)
EVERYONES_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
REQUEST = 1 << 17
"""Bytes asked for at once. OpenSSH gives up to 256 KiB; a server that gives less is asked again."""


class Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses a server whose key nobody has vouched for."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raise ResourceError with the fingerprint, so that a person can compare it."""
        raise ResourceError(
            f"the key of the SFTP server {hostname} is not known ({key.get_name()} {key.fingerprint})",
            remedy="Ask the people of the server if the key is theirs; if so, append what ssh-keyscan prints for it to "
            f"~/.ssh/known_hosts, or to the file that {KNOWN_HOSTS} names.",
        )


class CheckedSFTP(SFTPFileSystem):
    """Files over SFTP, on a server that ``connected`` has checked. Raises OSError, EOFError and paramiko.SSHException."""

    cachable = False

    def __init__(self, client: paramiko.SSHClient, *, read_seconds: float) -> None:
        AbstractFileSystem.__init__(self)
        self.client, self.ftp = client, client.open_sftp()
        self.ftp.sock.settimeout(read_seconds)

    def ls(self, path: str, detail: bool = False, **_: Any) -> list[Any]:
        """As fsspec's, but tells what is neither file nor folder nor link."""
        infos = [self._info(path, one) for one in self.ftp.listdir_attr(path)]
        return infos if detail else sorted(info["name"] for info in infos)

    def _info(self, folder: str, found: paramiko.SFTPAttributes) -> dict[str, Any]:
        info = self._decode_stat(found, folder)
        plain = info["type"] != "file" or stat.S_ISREG(found.st_mode or 0)
        return info if plain else {**info, "type": "other"}

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        """As fsspec's, but asks for more at once. To ask ahead would be faster still, but in a thread that fails aloud."""
        file = self.ftp.open(path, mode)
        file.MAX_REQUEST_SIZE = REQUEST
        return file


@contextmanager
def connected(host: str, *, port: int, user: str | None, connect_seconds: float, read_seconds: float) -> Generator[CheckedSFTP]:
    """The files of an SFTP server whose key is in a known_hosts file, as the user of a key file or of the agent's keys.

    Raises ResourceError if the server's key is unknown or another, or if it refuses ours; ParameterError if the key file is not
    usable; OSError, EOFError and paramiko.SSHException if the connection fails.
    """
    key = _key()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(Refuse())
    client.load_system_host_keys()
    for known in (EVERYONES_KNOWN_HOSTS, os.environ.get(KNOWN_HOSTS)):
        if known and Path(known).is_file():
            client.load_system_host_keys(known)
    try:
        client.connect(
            host,
            port=port,
            username=user,
            password=os.environ.get(PASSWORD),
            pkey=key,
            allow_agent=not key,
            look_for_keys=not key,
            timeout=connect_seconds,
            banner_timeout=connect_seconds,
            auth_timeout=connect_seconds,
            channel_timeout=connect_seconds,
        )
        yield CheckedSFTP(client, read_seconds=read_seconds)
    except paramiko.BadHostKeyException as error:
        raise ResourceError(
            f"the SFTP server {host} shows another key than the known one ({error.key.get_name()} {error.key.fingerprint})",
            remedy="Somebody may stand in between. Ask the people of the server; correct known_hosts only if the key is theirs.",
        ) from None
    except paramiko.AuthenticationException as error:
        raise ResourceError(
            f"the SFTP server {host} refused us ({type(error).__name__})",
            remedy=f"Check the user of the URL, and that the server has the public key of {KEY_FILE} or of the agent, or takes "
            f"passwords and {PASSWORD} is the right one; a key with a passphrase goes through the agent.",
        ) from None
    except paramiko.SSHException as error:
        if "No authentication methods" not in str(error):
            raise
        raise ParameterError(f"there is no key for the SFTP server {host}", remedy=f"Set {KEY_FILE}, or run an agent.") from None
    finally:
        client.close()


def _key() -> paramiko.PKey | None:
    """The private key of the key file, if one is set. Raises ParameterError."""
    path = os.environ.get(KEY_FILE)
    try:
        return paramiko.PKey.from_path(path) if path else None
    except (OSError, TypeError, ValueError, paramiko.SSHException):  # TypeError: it has a passphrase
        raise ParameterError(
            f"{KEY_FILE} names no private key that can be read",
            remedy="Give the file of a key without a passphrase; a key with one goes through the agent.",
        ) from None
