"""Access SFTP servers with fsspec, but with checked host keys and time limits.

Links are distinguished from files. fsspec's own class accepts the key of any new server, and waits without limit. This module
needs the extra ``sftp``.
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
REQUEST_BYTES = 1 << 17
"""Bytes requested at once. OpenSSH gives up to 256 KiB; if a server gives less, the rest is requested again."""


class Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses a server whose key is not in a known_hosts file."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raise ResourceError with the fingerprint, so that a person can compare it."""
        raise ResourceError(
            f"the key of the SFTP server {hostname} is not known ({key.get_name()} {key.fingerprint})",
            remedy="Ask the operators of the server if the key is theirs; if so, append what ssh-keyscan prints for it to "
            f"~/.ssh/known_hosts, or to the file that {KNOWN_HOSTS} names.",
        )


class CheckedSFTP(SFTPFileSystem):
    """Files over SFTP, on a server that ``connected`` has checked.

    Raises OSError, EOFError and paramiko.SSHException.
    """

    cachable = False

    def __init__(self, client: paramiko.SSHClient, *, read_seconds: float) -> None:
        AbstractFileSystem.__init__(self)
        self.client, self.ftp = client, client.open_sftp()
        self.ftp.sock.settimeout(read_seconds)

    def ls(self, path: str, detail: bool = False, **_: Any) -> list[Any]:
        """List a folder as fsspec does, but mark special files as "other"."""
        infos = [self._info(path, attributes) for attributes in self.ftp.listdir_attr(path)]
        return infos if detail else sorted(info["name"] for info in infos)

    def _info(self, folder: str, attributes: paramiko.SFTPAttributes) -> dict[str, Any]:
        info = self._decode_stat(attributes, folder)
        plain = info["type"] != "file" or stat.S_ISREG(attributes.st_mode or 0)
        return info if plain else {**info, "type": "other"}

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        """Open a file as fsspec does, but request more bytes at once.

        Prefetching would be faster still, but its thread prints errors to the terminal.
        """
        file = self.ftp.open(path, mode)
        file.MAX_REQUEST_SIZE = REQUEST_BYTES
        return file


@contextmanager
def connected(host: str, *, port: int, user: str | None, connect_seconds: float, read_seconds: float) -> Generator[CheckedSFTP]:
    """Connect to an SFTP server, and yield its files.

    The server's key must be in a known_hosts file. We log in with the key file, with the agent's keys, or with the password of
    the environment.

    Args:
        host: The name of the server.
        port: Its port.
        user: The user, or None for the default of the SSH settings.
        connect_seconds: The time limit for connecting.
        read_seconds: The time limit for each answer.

    Raises:
        ResourceError: If the server's key is unknown or has changed, or if the server refuses our login.
        ParameterError: If the key file cannot be used, or there is no key at all.
        OSError, EOFError, paramiko.SSHException: If the connection fails.
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
            remedy="Somebody may be intercepting. Ask the server's operators; correct known_hosts only if the key is theirs.",
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
    """Return the private key of the key file, or None if none is set. Raises ParameterError."""
    path = os.environ.get(KEY_FILE)
    try:
        return paramiko.PKey.from_path(path) if path else None
    except (OSError, TypeError, ValueError, paramiko.SSHException):  # TypeError: it has a passphrase
        raise ParameterError(
            f"{KEY_FILE} names no private key that can be read",
            remedy="Give the file of a key without a passphrase; use the SSH agent for a key with a passphrase.",
        ) from None
