"""What the device shows of what runs, as the integrator's probe prints it, held against the label.

The probe prints a JSON object, or lines of ``name=value``; its names are those of the manifest:

=============  ===================================================
``version``    the version of the release
``udiDi``      the device identifier of the UDI (``labelling.udiDi``)
``ifuVersion``  the version of the instructions for use
=============  ===================================================

A name that is not printed is not shown, and that differs from what was signed.  Further names are
ignored.  Bytes in, words out: nothing is run and nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Mapping

from primum_verifier.core.document import read_json
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import ReleaseManifest

MAX_PRINTED = 4096
"""Bytes that a probe may print: three short values."""

_SHOWN = 80


class UnreadableDisplayError(ValueError):
    """What was printed says nothing; its text says why."""


def signed_label(manifest: ReleaseManifest) -> dict[str, str]:
    """What the device has to show once a release is in use."""
    return {
        "version": manifest.bundle.version,
        "udiDi": manifest.labelling.udi_di,
        "ifuVersion": manifest.labelling.ifu_version,
    }


def read_display(printed: bytes) -> dict[str, str]:
    """What a probe printed, by name.

    Raises:
        UnreadableDisplayError: it is neither form, too long, or says one name twice.
    """
    if len(printed) > MAX_PRINTED:
        raise UnreadableDisplayError(f"more than {MAX_PRINTED} bytes")
    text = printed.strip()
    return _from_json(text) if text.startswith(b"{") else _from_lines(text)


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What is shown otherwise than signed, in words; empty where nothing is."""
    return [
        f"{name}: shows {_shown(found.get(name))}, signed {_shown(value)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def _from_json(text: bytes) -> dict[str, str]:
    try:
        content = read_json(text, where="display probe", max_bytes=MAX_PRINTED)
    except RefusedError as error:
        raise UnreadableDisplayError(error.found) from error
    # A number is not the text that a person reads: 1.10 would be 1.1.
    return {name: value for name, value in content.items() if isinstance(value, str)}


def _from_lines(text: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not equals or name in found:
            why = "one name twice" if equals else "a line without '='"
            raise UnreadableDisplayError(f"{why}: {_shown(line)}")
        found[name] = value
    if not found:
        raise UnreadableDisplayError("nothing was printed")
    return found


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value[:_SHOWN])
