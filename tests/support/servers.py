"""Real servers on loopback for tests: S3, SFTP, and a proxy in front of them that cuts or stalls connections."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
LOOPBACK = "127.0.0.1"


class Proxy:
    """Passes bytes between clients and the server at ``port``; ``cuts`` are for the next connections, one number each.

    A number is how many bytes from the server pass before the connection is cut; those after the last pass whole. ``stalls``
    instead of cutting keeps the connection open in silence. ``passed`` counts bytes, ``connections`` who came.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.cuts: list[int] = []
        self.stalls = False
        self.passed = self.connections = 0
        self.open: list[socket.socket] = []
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more, and cut whoever is connected."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in self.open:
            _close(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                left = self.cuts.pop(0) if self.cuts else None
                server = socket.create_connection((LOOPBACK, self.target))
                self.open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, None, 0), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, left, 1), daemon=True).start()

    def _pass(self, come: socket.socket, go: socket.socket, left: int | None, counts: int) -> None:
        with suppress(OSError):
            while left is None or left > 0:
                block = come.recv(1 << 14 if left is None else min(left, 1 << 14))
                if not block:
                    break
                go.sendall(block)
                self.passed += counts * len(block)
                left = None if left is None else left - len(block)
            if left == 0 and self.stalls:
                return
        _close(come)
        _close(go)


@contextmanager
def proxied(port: int) -> Generator[Proxy]:
    """A proxy in front of the server at ``port``."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def sshd(folder: Path) -> Generator[int]:
    """The port of an OpenSSH server that serves files to us, by the key ``folder``/user and with the key ``folder``/host."""
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = _free_port()
    settings = {
        "ListenAddress": LOOPBACK,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "MaxStartups": "100",
        "Subsystem": "sftp internal-sftp",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([SSHD or "sshd", "-D", "-e", "-f", "/dev/null", "-p", str(port), *options], stderr=log)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait()


class _PasswordServer(paramiko.ServerInterface):
    """Lets in one user by a password, as OpenSSH does only for users of the machine."""

    def __init__(self, user: str, password: str) -> None:
        self.known = user, password

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL if (username, password) == self.known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED


class _EmptyFolders(paramiko.SFTPServerInterface):
    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
        return []


@contextmanager
def password_sftp(key: Path, *, user: str, password: str) -> Generator[int]:
    """The port of an SFTP server with the key ``key`` and nothing but empty folders, that asks ``user`` for a password."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(paramiko.PKey.from_path(key))
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _EmptyFolders)
                transport.start_server(server=_PasswordServer(user, password))

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def known_host(port: int, key: Path) -> str:
    """The line of known_hosts for a server on loopback whose public key is in the file ``key``."""
    kind, text = key.read_text().split()[:2]
    return f"[{LOOPBACK}]:{port} {kind} {text}\n"


def user() -> str:
    """Who runs the tests."""
    return getpass.getuser()


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as one:
        return int(one.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection((LOOPBACK, port)) as one:
            if one.recv(4):
                return
        time.sleep(0.05)
    raise TimeoutError("the server does not answer")


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
