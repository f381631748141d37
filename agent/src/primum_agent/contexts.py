"""Which signed context belongs to the key in use, and whose it says it is.

Standard library only, because the resident supervisor asks; no signature is checked here, the judge
does that for every release.  A change of the device's key lays the next context down under the
key's id first, so that whatever instant the power goes the key in use finds the one that names it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

from primum_agent.settings import Settings

_MOST_BYTES = 1024 * 1024


def context_path(settings: Settings, key_id: str) -> Path:
    """The context of a device with this key; the usual name wherever it does not contradict."""
    laid_down = context_under(settings, key_id)
    is_usual = key_of(factory_facts(settings.context)).get("keyId") == key_id
    return settings.context if is_usual or not laid_down.is_file() else laid_down


def context_under(settings: Settings, key_id: str) -> Path:
    """Where a change of the key lays the context down that names the next one."""
    return settings.folder / f"device-context.{key_id}.dsse.json"


def factory_facts(context: Path) -> dict[str, Any]:
    """What the manufacturer signed of the device, out of the DSSE payload; empty if unreadable."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        content = json.loads(base64.b64decode(str(read_object(context).get("payload", ""))))
        factory = content.get("factory") if isinstance(content, dict) else None
        if isinstance(factory, dict):
            return factory
    return {}


def key_of(factory: dict[str, Any]) -> dict[str, Any]:
    """The public key that a context is bound to; empty where it names none."""
    key = factory.get("publicKey")
    return key if isinstance(key, dict) else {}


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as stream:
        content = json.loads(stream.read(_MOST_BYTES))
        if isinstance(content, dict):
            return content
    return {}
