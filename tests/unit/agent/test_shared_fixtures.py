"""A release with the fixtures of an earlier one: one artifact, fetched once."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from primum_device_sim.authorities import offices
from primum_device_sim.authorities.documents import fixture_bytes as written_by_numpy
from primum_repo_tools.fixture_file import fixture_bytes
from primum_verifier.core.document import sha256_hex
from primum_verifier.proof.fixtures import read_fixtures

Attempt = Callable[..., int]


def made_fixtures() -> bytes:
    return fixture_bytes(read_fixtures(written_by_numpy()))


@pytest.fixture
def made_again(in_the_field: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every release makes its fixtures anew from the same arrays, as ``fixtures make`` does."""
    monkeypatch.setattr(offices, "fixture_bytes", made_fixtures)
    return in_the_field


def served_bytes(field: Any) -> int:
    """Bytes of all artifacts that engineering serves."""
    return sum(path.stat().st_size for path in (field.engineering.web / "artifacts").iterdir())


def test_fixtures_that_are_held_are_not_fetched_again(
    made_again: Any, attempt_now: Attempt
) -> None:
    """Danger: every update costs a metered link the fixtures, or a server that lost them."""
    made_again.release("1.0.0", counter=1)
    assert attempt_now() == 0
    made_again.commit()
    fixtures = sha256_hex(made_fixtures())
    made_again.release("1.1.0", counter=2, scale=1.00001)
    served = made_again.engineering.web / "artifacts" / fixtures
    served.unlink()  # whoever asked for it would be told that it is not there
    assert attempt_now() == 0
    assert made_again.opened().version == "1.1.0"
    first, second = (
        event["data"]["detail"]["fetched"]
        for event in made_again.events()
        if event["type"].endswith("update.downloaded")
    )
    # What is still served is one model and one specification of each release.
    assert second == served_bytes(made_again) - (first - len(made_fixtures()))
    held = [path for path in made_again.layout.store.rglob("*") if fixtures in path.name]
    assert len(held) == 1, "one artifact on the device, for both releases"


def test_other_fixtures_are_fetched(made_again: Any, attempt_now: Attempt) -> None:
    """The counterproof: the test above would fail if the second release had its own fixtures."""
    made_again.release("1.0.0", counter=1)
    assert attempt_now() == 0
    made_again.commit()
    arrays = dict(np.load(io.BytesIO(written_by_numpy())))
    arrays["cohort"] = np.array(["other"] * 6)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offices, "fixture_bytes", stream.getvalue)
        made_again.release("1.1.0", counter=2, scale=1.00001)
    (made_again.engineering.web / "artifacts" / sha256_hex(stream.getvalue())).unlink()
    assert attempt_now() != 0
