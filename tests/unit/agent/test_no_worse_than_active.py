"""A device takes no release that errs more often than the one that serves its patients."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from primum_device_sim.authorities import offices
from primum_device_sim.authorities.documents import fixture_bytes, specification_bytes
from primum_verifier.core.document import canonical_json

Attempt = Callable[..., int]


@pytest.fixture
def measured(in_the_field: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every release asks to be no worse than the active one; what that decided is added to it."""
    earlier: dict[str, Any] = {}

    def fixtures() -> bytes:
        arrays = {**np.load(io.BytesIO(fixture_bytes())), **earlier}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    def specification(data: bytes, **_: object) -> bytes:
        content = json.loads(specification_bytes(data))
        content["tests"][4]["noWorseThan"] = ["active"]
        return canonical_json(content)

    monkeypatch.setattr(offices, "fixture_bytes", fixtures)
    monkeypatch.setattr(offices, "specification_bytes", specification)
    in_the_field.earlier, in_the_field.fixtures = earlier, fixtures
    return in_the_field


def decided(field: Any, version: str, *, wrong: int = 0) -> None:
    """What a release decided; all but ``wrong`` of the cases rightly."""
    right = np.load(io.BytesIO(fixture_bytes()))["label"].copy()
    right[:wrong] = 1 - right[:wrong]
    field.earlier[f"decision.{field.releases[version]}"] = right


def with_first(field: Any, attempt_now: Attempt) -> None:
    field.release("1.0.0", counter=1)
    assert attempt_now() == 0, "the first release has nothing to be worse than"
    field.commit()


def test_what_is_no_worse_is_taken_and_the_way_back_stays_open(
    measured: Any, attempt_now: Attempt
) -> None:
    """Danger: 1.0.0 cannot know what 1.1.0 decided, and a device could never go back to it."""
    with_first(measured, attempt_now)
    decided(measured, "1.0.0", wrong=1)
    measured.release("1.1.0", counter=2)
    assert attempt_now() == 0
    measured.commit()
    assert measured.opened().version == "1.1.0"
    measured.withdraw("1.1.0")
    attempt_now()
    assert measured.opened().version == "1.0.0"


def test_what_is_worse_is_refused_and_remembered(
    measured: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_first(measured, attempt_now)
    decided(measured, "1.0.0")
    plain = measured.fixtures

    def mislabelled() -> bytes:
        arrays = dict(np.load(io.BytesIO(plain())))
        arrays["label"] = arrays["label"].copy()
        arrays["label"][2] = 1 - arrays["label"][2]
        key = f"decision.{measured.releases['1.0.0']}"
        arrays[key] = arrays["label"]
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    monkeypatch.setattr(offices, "fixture_bytes", mislabelled)
    measured.release("1.1.0", counter=2)
    assert attempt_now() == 1
    failing = measured.event("selftest.failed")["data"]["detail"]["failing"]
    assert "worse than the active release: 1 " in failing[0]["found"]
    journal = measured.journal()
    assert list(journal.state().faults.values()) == ["selftest.failed"]
    journal.close()
    assert measured.opened().version == "1.0.0"


def test_what_cannot_be_compared_waits_and_is_not_held_against_the_release(
    measured: Any, attempt_now: Attempt
) -> None:
    """Danger: not evaluable passes, or bans a release that another device can evaluate."""
    with_first(measured, attempt_now)
    measured.release("1.1.0", counter=2)
    assert attempt_now() == 3
    failed = measured.event("selftest.failed")["data"]
    assert failed["reasons"] == ["selftest.incomplete"]
    assert "no decisions of the active release" in failed["detail"]["summary"]
    journal = measured.journal()
    assert not journal.state().faults
    journal.close()
    assert measured.opened().version == "1.0.0"
