"""A passphrase or a PIN, read from a file or a systemd credential and from nowhere else.

Never from an argument or a variable: both can be read by every process of the same user, and are
kept in histories and logs.  ``CREDENTIALS_DIRECTORY`` only names the folder that the service
manager made.  Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path

from primum_agent.durable import write_file
from primum_agent.key_errors import UnusableKeyError
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason

CREDENTIAL = "credential:"
"""In front of the name of a credential, where a path may stand too."""

MAX_SECRET_BYTES = 1024
"""Larger is no passphrase and no PIN."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_GROUP_READS = stat.S_IRGRP


def secret_path(source: str) -> Path:
    """The file that a source means.

    Args:
        source: an absolute path, or ``credential:NAME``.

    Raises:
        UnusableKeyError: ``key.secret``: it is a credential, and the service manager gave none.
    """
    if not source.startswith(CREDENTIAL):
        return Path(source)
    name = source.removeprefix(CREDENTIAL)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not _NAME.fullmatch(name) or not folder.startswith("/"):
        raise secret_error(
            "The credential is not there.",
            where=source,
            found="no CREDENTIALS_DIRECTORY" if not folder else "a name that is none",
            remedy="Set LoadCredential= or LoadCredentialEncrypted= for the service; a command "
            "that is typed has no credentials, so let the service do it.",
        )
    return Path(folder) / name


def read_secret(path: Path) -> bytes:
    """The secret in a file, without the line end.

    Raises:
        UnusableKeyError: ``key.secret``: it is missing, empty, too long, or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise secret_error(
            "The passphrase or PIN cannot be read.",
            where=str(path),
            found=error.strerror or str(error),
            remedy="Put it there, readable by the agent's user alone.",
        ) from error
    # systemd hands credentials over as 0440 below a folder that only the service can enter.
    mine_alone = _OTHERS & ~_GROUP_READS if _is_credential(path) else _OTHERS
    if mode & mine_alone:
        raise secret_error(
            "Others may read the passphrase or PIN.",
            where=str(path),
            found=f"mode {stat.S_IMODE(mode):04o}",
            remedy="Set the mode with chmod 600, and choose another secret: this one was open.",
        )
    secret = data.rstrip(b"\r\n")
    if not secret or len(data) > MAX_SECRET_BYTES:
        raise secret_error(
            "The file holds no passphrase or PIN.",
            where=str(path),
            found="nothing" if not secret else "too much",
            remedy=f"Write 1 to {MAX_SECRET_BYTES} bytes into it.",
        )
    return secret


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return folder.startswith("/") and path.parent == Path(folder)


def secret_error(message: str, *, where: str, found: str, remedy: str) -> UnusableKeyError:
    """The one kind of error of this module."""
    return UnusableKeyError(
        message,
        reason=Reason.KEY_SECRET,
        where=where,
        found=found,
        expected="a file of mode 0600 with one line, or a credential of the service",
        remedy=remedy,
    )


class RefusedSecret:
    """A secret that was refused is not tried again until its file is another one.

    A token locks itself after a few wrong PINs, and a supervisor tries to sign for years.

    Args:
        path: where the memory lies, beside the key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, secret: Path) -> None:
        """Refuse a secret that was refused before.

        Raises:
            UnusableKeyError: ``key.secret``.
        """
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self._path.read_bytes()) == _identity(secret):
                raise secret_error(
                    "The PIN was refused before, and is not tried again: the token might lock.",
                    where=str(secret),
                    found="the same file as then",
                    remedy="Write the right PIN into the file; a changed file is tried once.",
                )

    def remember(self, secret: Path) -> None:
        """It was refused; a disk that does not take it must not hide why."""
        with contextlib.suppress(PrimumError, OSError):
            data = json.dumps(_identity(secret)).encode()
            write_file(self._path, data, mode=0o600)

    def forget(self) -> None:
        """It was taken."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _identity(secret: Path) -> list[object]:
    """What tells a file from the one that takes its place; says nothing about the secret."""
    found = secret.stat()
    return [str(secret), found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size]
