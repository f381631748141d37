"""The answer to ``may-use`` on the socket: one question about one episode, read strictly.

For applications that are not written in Python: the terms are judged by the same function as the
library's.  Nothing is read but ``standing.json``, nothing is written, and nothing is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from primum_agent.application import by_terms, none_begins, standing_now
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.keeping.episode import Episode

MOST_YEARS = 150
"""The oldest patient; more is a wrong unit (months, days)."""

MOST_ITEMS = 128
"""Codes, channels or conditions of one episode; more would keep the supervisor busy."""

MOST_CHARACTERS = 200
"""Of one code, unit or name."""

_SEX = frozenset({"female", "male"})
_CATEGORIES = frozenset({"adult", "paediatric", "neonatal"})
_CHANNEL = frozenset({"channel", "code", "unit", "rateHz"})


def answer_may_use(
    request: Mapping[str, Any], *, state_dir: Path, now: Callable[[], datetime]
) -> dict[str, Any]:
    """Whether the release in use may serve this episode.

    Args:
        request: ``do``, and ``episode``: an object of what is known; what is left out is not.
        state_dir: the agent's state folder.
        now: the device's clock.

    Returns:
        ``answer`` with ``reason``, ``found`` and ``banner``; ``generation`` and ``statement`` say
        about which release: the application holds them against what it opened.

    Raises:
        UsageError: the question holds an unknown member, a wrong type or value, or too much.
    """
    _no_more(request, frozenset({"do", "episode"}), where="may-use")
    episode = read_episode(request.get("episode"))
    content = standing_now(state_dir)
    permission = none_begins(content)
    if permission is None:
        # It is the agent that answers: it runs.
        permission = by_terms(content, episode, now=now(), agent_runs=lambda: True)
    return {
        "ok": True,
        "answer": str(permission.answer),
        "reason": None if permission.reason is None else str(permission.reason),
        "found": permission.found,
        "banner": permission.banner,
        "generation": content.get("generation"),
        "statement": content.get("statement"),
    }


def read_episode(asked: object) -> Episode:
    """What the application knows of an episode.

    Raises:
        UsageError: see :func:`answer_may_use`.
    """
    members = _object(asked, where="episode")
    readers: dict[str, Callable[[object], Any]] = {
        "ageYears": _years,
        "sex": lambda value: _one_of(value, _SEX, where="episode.sex"),
        "patientCategory": lambda value: _one_of(
            value, _CATEGORIES, where="episode.patientCategory"
        ),
        "codes": lambda value: _texts(value, where="episode.codes"),
        "inputs": _inputs,
        "conditionsMet": lambda value: _texts(value, where="episode.conditionsMet"),
    }
    _no_more(members, frozenset(readers), where="episode")
    known = {name: readers[name](value) for name, value in members.items()}
    return Episode(
        age_years=known.get("ageYears"),
        sex=known.get("sex"),
        patient_category=known.get("patientCategory"),
        codes=known.get("codes"),
        inputs=known.get("inputs"),
        conditions_met=known.get("conditionsMet", frozenset()),
    )


def _wrong(where: str, expected: str) -> UsageError:
    # What was found is not said again: it may be about a patient.
    return UsageError(
        "The question cannot be read", reason=Reason.USAGE, where=where, expected=expected
    )


def _no_more(members: Mapping[str, Any], known: frozenset[str], *, where: str) -> None:
    if not known.issuperset(members):
        raise _wrong(where, f"no members but {', '.join(sorted(known))}")


def _object(value: object, *, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    return value


def _list(value: object, *, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise _wrong(where, f"a list of at most {MOST_ITEMS}")
    return value


def _text(value: object, *, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_CHARACTERS:
        raise _wrong(where, f"text of 1 to {MOST_CHARACTERS} characters")
    return value


def _texts(value: object, *, where: str) -> frozenset[str]:
    return frozenset(_text(item, where=where) for item in _list(value, where=where))


def _one_of(value: object, words: frozenset[str], *, where: str) -> str:
    if not isinstance(value, str) or value not in words:
        raise _wrong(where, " or ".join(sorted(words)))
    return value


def _years(value: object) -> int:
    # JSON's true is no age, though Python's is 1.
    if type(value) is not int or not 0 <= value <= MOST_YEARS:
        raise _wrong("episode.ageYears", f"whole years, 0 to {MOST_YEARS}")
    return value


def _rate(value: object, *, where: str) -> float:
    if type(value) not in {int, float}:
        raise _wrong(where, "a rate in hertz")
    try:
        rate = float(value)  # type: ignore[arg-type] # told by the line above
    except OverflowError:
        rate = math.inf
    if not (math.isfinite(rate) and rate > 0):
        raise _wrong(where, "a rate in hertz")
    return rate


def _inputs(value: object) -> dict[str, tuple[str, str, float]]:
    found: dict[str, tuple[str, str, float]] = {}
    where = "episode.inputs"
    for item in _list(value, where=where):
        members = _object(item, where=where)
        if members.keys() != _CHANNEL:
            raise _wrong(where, f"each with {', '.join(sorted(_CHANNEL))}")
        channel = _text(members["channel"], where=where)
        if channel in found:
            raise _wrong(where, "each channel once")
        found[channel] = (
            _text(members["code"], where=where),
            _text(members["unit"], where=where),
            _rate(members["rateHz"], where=where),
        )
    return found
