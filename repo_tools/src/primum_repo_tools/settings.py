"""One strict way from a TOML file that a person wrote to a frozen value.

A misspelt member is refused by name: in a file that decides what is signed, a setting that is
silently ignored is a danger.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import StringConstraints

from primum_repo_tools.files import read_input
from primum_verifier.core.document import Document, canonical_json, parse_document
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

Settings = TypeVar("Settings", bound=Document)
FileName = Annotated[str, StringConstraints(min_length=1, max_length=400)]
"""A file or folder, relative to the folder of the file that names it."""


def _plain_value(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def parse_settings(model: type[Settings], data: bytes, *, where: str) -> Settings:
    """Parse the bytes of a TOML file into its frozen model.

    Args:
        model: a closed :class:`Document`; members are written in snake_case.
        data: the file's bytes.
        where: the file's name; it heads the error.

    Raises:
        UsageError: no TOML, or not this model, with up to five members that are wrong.
    """
    try:
        content = tomllib.loads(data.decode("utf-8", "strict"))
        text = json.dumps(content, default=_plain_value, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            "The file is no readable TOML.",
            reason=Reason.USAGE,
            where=where,
            found=str(error)[:200],
            expected="TOML 1.0 in UTF-8",
        ) from error
    return _parsed(model, text.encode(), where=where)


def read_settings(model: type[Settings], path: Path, *, what: str) -> Settings:
    """Read and parse a TOML file; see :func:`parse_settings`."""
    return parse_settings(model, read_input(path, what=what), where=str(path))


def checked_settings(
    model: type[Settings], content: Mapping[str, object], *, where: str
) -> Settings:
    """Values from the command line as a frozen model.

    Raises:
        UsageError: they are not what the model allows.
    """
    try:
        data = canonical_json(content)
    except UnicodeEncodeError as error:
        # A byte of the command line that is no UTF-8 arrives as half a character.
        raise UsageError(
            "A text is not in UTF-8.",
            reason=Reason.USAGE,
            where=where,
            found=error.object[max(0, error.start - 20) : error.end + 20],
            expected="text in UTF-8",
            remedy="Type it in a terminal that is set to UTF-8.",
        ) from error
    return _parsed(model, data, where=where)


def _parsed(model: type[Settings], data: bytes, *, where: str) -> Settings:
    try:
        return parse_document(model, data, where=where, by_name=True)
    except RefusedError as error:
        raise UsageError(
            "A value that is given is not allowed, or one is missing.",
            reason=Reason.USAGE,
            where=where,
            found=error.found,
            expected=error.expected.replace(model.__name__, "this file's example"),
            remedy="Compare with the example in the help or in the release engineer's guide.",
        ) from error
