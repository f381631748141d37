"""Which device is known by which key: from what `primum-agent enroll` wrote, or a signed context.

That such a file is the right one is the user's to know: it is how a device's reports come to be
believed at all.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from primum_repo_tools.files import read_input
from primum_verifier.core.document import Slug, canonical_json, parse_document, read_json
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

_NAME: TypeAdapter[str] = TypeAdapter(Slug)


@dataclass(frozen=True)
class Enrolled:
    """One device of a fleet, and where it was read."""

    name: str
    key: PublicKey
    where: str


def read_enrolments(paths: list[Path], *, name: str | None) -> list[Enrolled]:
    """The devices in files and folders.

    Args:
        paths: each an enrolment, a signed context, a public key, or a folder of such files.
        name: the device, for a public key, which names none.

    Raises:
        UsageError: a file holds no device and key, or a folder none of them.
    """
    files = [file for path in paths for file in _files(path)]
    return [_read(file, name=name) for file in files]


def read_facts(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """The factory facts in signed contexts, by device; of other files, those that they tell.

    Whose signature stands under a context is not looked at: the files are the user's own.

    Raises:
        UsageError: a file is none that names a device.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in (file for path in paths for file in _files(path)):
        enrolled = _read(file, name=None)
        content = _content(read_input(file, what="enrolment"), where=str(file))
        found[enrolled.name] = {
            name: value for name, value in content.items() if isinstance(value, str)
        }
    return found


def _content(data: bytes, *, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    content: Any = read_json(data, where=where)
    if "payload" in content:
        inner = base64.b64decode(content["payload"], validate=True)
        content = read_json(inner, where=where)["factory"]
    return content


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.json"))
    if not found:
        raise UsageError(
            "There is no enrolment in this folder.",
            reason=Reason.USAGE,
            where=str(path),
            expected="files that end in .json",
        )
    return found


def _read(path: Path, *, name: str | None) -> Enrolled:
    data = read_input(path, what="enrolment")
    try:
        content = _content(data, where=str(path))
        named = content.get("deviceId", name)
        key = content.get("publicKey", content)
        return Enrolled(
            name=_NAME.validate_python(named, strict=True),
            key=parse_document(PublicKey, canonical_json(key), where=str(path)),
            where=str(path),
        )
    except (RefusedError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise _none(path, str(error)[:200]) from error
    except ValidationError as error:
        raise _none(path, "it names no device") from error


def _none(path: Path, found: str) -> UsageError:
    return UsageError(
        "This names no device with its key.",
        reason=Reason.USAGE,
        where=str(path),
        found=found,
        expected="an enrolment, a signed device context, or a public key and --device",
        remedy="Take what `primum-agent enroll --output FILE` wrote on the device.",
    )
