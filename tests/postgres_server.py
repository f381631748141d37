"""A PostgreSQL server of a test run's own: own folder, own port, ended with the run.

PostgreSQL refuses to run as root: there its processes belong to ``nobody``, in a folder that is
theirs.  One that the machine runs already is never used.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_SECONDS = 30.0


@dataclass
class PostgresServer:
    """A running server, in which each test makes a database of its own."""

    port: int
    _made: list[str] = field(default_factory=list)

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://primum@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of an empty database."""
        import psycopg

        name = f"fleet{len(self._made)}"
        self._made.append(name)
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)


@contextmanager
def running_postgresql(programs: Path) -> Iterator[PostgresServer]:
    """Runs a server while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="primum-postgresql-"))
    options: dict[str, Any] = {"cwd": folder, "env": _environment(programs)}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    log = (folder / "log").open("ab")
    try:
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "primum", "-A", "trust",
             "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, stdout=log, stderr=log, **options,
        )  # fmt: skip
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-p", str(port), *words],
            stdout=log, stderr=log, **options,
        )  # fmt: skip
        try:
            _wait_until_ready(server, port, folder / "log")
            yield PostgresServer(port)
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(timeout=READY_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(programs: Path) -> dict[str, str]:
    """Unpacked programs find their libraries below the same root."""
    found = next((part for part in programs.parents if part.name == "root"), None)
    if found is None:
        return dict(os.environ)
    places = sorted({str(file.parent) for file in found.rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(places)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + READY_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"postgresql://primum@127.0.0.1:{port}/postgres").close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
