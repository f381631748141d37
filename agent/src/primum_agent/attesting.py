"""The device's signed word on a self-test: kept as evidence for each release, and exported.

The statement lies in ``self-tests/`` under the digest of the release and the occasion of the test,
so that the daily test of what runs does not replace what was signed before it was activated; an
event about the test names the digest of the file.  It is evidence and decides nothing: where the
key cannot be used, or the disk is full, the test counts as it came out, and the event says why
there is no statement.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from primum_agent.durable import make_folder, write_file
from primum_agent.layout import Layout
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE
from primum_verifier.core.errors import PrimumError
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.proof.selftest_statement import Occasion, state

if TYPE_CHECKING:  # an export needs the names below, and nothing of what a device is
    from primum_agent.device import Device

KEPT = 16
"""Statements kept, the newest of each release and occasion; the oldest make room."""

_MODE = 0o640
_SUFFIX = ".dsse.json"


def attest(
    device: Device, report: SelfTestReport | None, *, name: str, release: str, occasion: Occasion
) -> dict[str, object]:
    """Sign and keep what a self-test came to.

    Args:
        device: the device.
        report: what came of the test; None where it could not be run, and nothing is stated.
        name: component and version.
        release: SHA-256 of the manifest.
        occasion: what the test was run for.

    Returns:
        Members for the detail of the test's event.
    """
    if report is None:
        return {}
    statement = state(
        report,
        name=name,
        release=release,
        tester=device.settings.device_id,
        occasion=occasion,
        at=device.clock.now(),
    )
    path = device.layout.self_tests / _file_name(release, occasion)
    try:
        line = device.signer.envelope(statement.to_bytes(), payload_type=INTOTO_PAYLOAD_TYPE)
        make_folder(device.layout.self_tests)
        write_file(path, line + b"\n", mode=_MODE)
    except PrimumError as error:
        return {"statement": {"missing": str(error.reason)}}
    _make_room(device.layout)
    return {"statement": {"sha256": sha256_hex(line + b"\n")}}


def statements(layout: Layout) -> tuple[Path, ...]:
    """The statements that are kept, the newest first."""
    if not layout.self_tests.is_dir():
        return ()
    found = layout.self_tests.glob(f"*{_SUFFIX}")
    return tuple(sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name)))


def _file_name(release: str, occasion: Occasion) -> str:
    """What stands before an update has the release's name alone; it is asked for most."""
    told = "" if occasion is Occasion.UPDATE else f".{occasion}"
    return f"{release}{told}{_SUFFIX}"


def _make_room(layout: Layout) -> None:
    for path in statements(layout)[KEPT:]:
        with contextlib.suppress(OSError):
            path.unlink()
