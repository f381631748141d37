"""``run/shadow.json``: the release that may run in shadow now, beside which one, and until when.

An attempt writes it from a verdict and takes it away as soon as a verdict says otherwise.  Whoever
runs a shadow looks at it before each input, and at the standing: where either does not name what
it holds, it ends.  The file is closed: what has another member, or one that is wrong, names
nothing, and what names nothing runs nowhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from primum_agent.durable import disk_errors, sync_folder, write_file
from primum_agent.layout import Layout
from primum_agent.standing import read_standing

SCHEMA_VERSION = "0.1"
MAX_BYTES = 16_384

_FILES = ("model", "specification", "monitoring")
_PIECE = 1024 * 1024
_DIGEST = hashlib.sha256().digest_size * 2


@dataclass(frozen=True, kw_only=True)
class ShadowFile:
    """One file that a shadow opens: where it lies, and its SHA-256."""

    path: str
    sha256: str

    def is_whole(self) -> bool:
        """Whether the bytes are those that the device proved."""
        seen = hashlib.sha256()
        with suppress(OSError), Path(self.path).open("rb") as stream:
            while piece := stream.read(_PIECE):
                seen.update(piece)
            return seen.hexdigest() == self.sha256
        return False


@dataclass(frozen=True, kw_only=True)
class ShadowRun:
    """What may run in shadow.

    Attributes:
        release: SHA-256 of its manifest.
        statement: SHA-256 of the eligibility statement by which it runs.
        beside: SHA-256 of the manifest of the release in use, which it is compared with.
        begun: the attempt that began it.
        not_after: when the statement ends, RFC 3339.
        output: the output that the operating point is for.
        threshold: the operating point, as it was signed.
    """

    component: str
    version: str
    release: str
    statement: str
    beside: str
    begun: str
    not_after: str
    output: str
    threshold: str
    model: ShadowFile
    specification: ShadowFile
    monitoring: ShadowFile

    def is_over(self, now: datetime) -> bool:
        """Whether the statement has ended by the device's clock: nobody loses a function by it."""
        return now >= datetime.fromisoformat(self.not_after)


def read_shadow(layout: Layout) -> ShadowRun | None:
    """What may run in shadow now; None where nothing may, or the file is not one of ours."""
    try:
        with layout.shadow.open("rb") as stream:
            content = json.loads(stream.read(MAX_BYTES))
        return _run_of(content)
    except (OSError, ValueError, RecursionError):
        return None


def shadow_beside(layout: Layout) -> ShadowRun | None:
    """The same, where what it runs beside is what the application may use now."""
    run = read_shadow(layout)
    if run is None:
        return None
    standing = read_standing(layout)
    if standing is None or standing.get("mode") == "safe":
        return None
    return run if standing.get("release") == run.beside else None


class ShadowLook:
    """The same question, asked before every input: both files are read again where one changed.

    They are only ever replaced whole, so another content is another file.

    Args:
        layout: the state folder's names.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: tuple[object, ...] | None = None
        self._found: ShadowRun | None = None

    def now(self) -> ShadowRun | None:
        """See :func:`shadow_beside`."""
        seen = (_mark_of(self._layout.shadow), _mark_of(self._layout.standing))
        if seen != self._seen:
            self._found = shadow_beside(self._layout)
            self._seen = seen
        return self._found


def _mark_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_ino, known.st_mtime_ns, known.st_ctime_ns, known.st_size


def write_shadow(layout: Layout, run: ShadowRun) -> None:
    """Let it be run, if the file does not say so already.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old file stands.
    """
    if read_shadow(layout) != run:
        data = json.dumps({"schemaVersion": SCHEMA_VERSION, **asdict(run)}, indent=1)
        write_file(layout.shadow, data.encode() + b"\n", mode=0o640)


def withdraw_shadow(layout: Layout) -> None:
    """Let nothing be run in shadow any more.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old file stands.
    """
    with disk_errors(layout.shadow):
        if layout.shadow.exists():
            layout.shadow.unlink(missing_ok=True)
            sync_folder(layout.shadow.parent)


def _run_of(content: object) -> ShadowRun:
    if not isinstance(content, dict) or content.pop("schemaVersion", None) != SCHEMA_VERSION:
        raise ValueError("no file of a shadow")
    files = {name: _file(content.pop(name, None)) for name in _FILES}
    texts = {name: _text(value) for name, value in content.items()}
    if texts.keys() | files.keys() != {item.name for item in fields(ShadowRun)}:
        raise ValueError("other members than those of a shadow")
    for name in ("release", "statement", "beside"):
        _digest(texts[name])
    if datetime.fromisoformat(texts["not_after"]).tzinfo is None:
        raise ValueError("an end without a zone")
    members: dict[str, Any] = {**texts, **files}
    return ShadowRun(**members)


def _file(found: object) -> ShadowFile:
    if not isinstance(found, Mapping) or found.keys() != {"path", "sha256"}:
        raise ValueError("no file with its digest")
    members: Mapping[str, Any] = found
    return ShadowFile(path=_text(members["path"]), sha256=_digest(_text(members["sha256"])))


def _text(found: object) -> str:
    if not isinstance(found, str) or not found:
        raise ValueError("a member that is no text")
    return found


def _digest(found: str) -> str:
    if len(found) != _DIGEST or not set(found) <= set("0123456789abcdef"):
        raise ValueError("no SHA-256")
    return found
