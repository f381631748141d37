"""The fixture file is read without numpy, and nothing but what was agreed is read."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof import fixtures as fixtures_module
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import read_fixtures
from primum_verifier.proof.selftest_spec import MAX_RANK

Build = dict[str, Callable[..., Any]]


@pytest.fixture
def arrays(build: Build) -> dict[str, Any]:
    made: dict[str, Any] = build["cases"]()
    return made


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_back(arrays: dict[str, Any], save: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    fixtures = read_fixtures(buffer.getvalue())
    assert fixtures.cases == tuple(arrays["case"].tolist())
    assert fixtures.cohorts == tuple(arrays["cohort"].tolist())
    assert fixtures.labels == tuple(arrays["label"].tolist())
    assert fixtures.expected_decisions == tuple(arrays["expected_decision"].tolist())
    np.testing.assert_array_equal(
        np.array(fixtures.references["p"].numbers(), dtype=np.float32), arrays["reference.p"][:, 0]
    )
    (given_input,) = fixtures.inputs
    assert given_input.shape == arrays["input.x"].shape
    assert given_input.of_case(3) == arrays["input.x"][3].tobytes()


@pytest.mark.parametrize("dtype", ElementType)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
def test_every_element_type_and_shape_is_read_back(
    arrays: dict[str, Any], build: Build, dtype: ElementType, shape: tuple[int, ...]
) -> None:
    made = np.random.default_rng(3).integers(0, 2, size=(12, *shape)).astype(dtype)
    fixtures = read_fixtures(build["npz"]({**arrays, "reference.q": made}))
    found = fixtures.references["q"]
    assert (found.dtype, found.shape) == (dtype, made.shape)
    assert found.of_case(5) == made[5].tobytes()
    assert list(found.numbers()) == made.reshape(-1).tolist()


def test_a_bool_that_is_neither_is_refused(arrays: dict[str, Any]) -> None:
    """Attack: a byte of 2 is true to one reader and other than true to the next."""
    member = io.BytesIO()
    np.save(member, np.ones((12, 2), dtype=np.bool_))
    raw = member.getvalue()
    read_fixtures(_repacked(arrays, replaced={"input.x": raw}))
    with pytest.raises(RefusedError) as caught:
        read_fixtures(_repacked(arrays, replaced={"input.x": raw[:-1] + b"\2"}))
    assert "a bool other than" in caught.value.found


def _with(arrays: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**arrays, **changes}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("case", np.array(["same"] * 12)),
        ("case", np.array(["a" * 121] + [f"c{index}" for index in range(11)])),
        ("case", np.array([""] + [f"c{index}" for index in range(11)])),
        ("case", np.array(["a\nb"] + [f"c{index}" for index in range(11)])),
        ("case", np.array([b"bytes"] * 12)),
        ("cohort", np.array([["sinus"]] * 12)),
        ("cohort", np.array(["sinus"] * 11)),
        ("label", np.zeros(12, dtype=np.int64)),
        ("label", np.full(12, 2, dtype=np.int8)),
        ("expected_decision", np.zeros((12, 1), dtype=np.int8)),
        ("input.x", np.zeros((12, 8), dtype=np.complex64)),
        ("input.x", np.array([["text"]] * 12)),
        ("input.x", np.zeros((12, 8), dtype="<m8[s]")),
        ("input.x", np.zeros((12, 8), dtype=">f4")),
        ("input.x", np.asfortranarray(np.ones((12, 8), dtype=np.float32))),
        ("input.x", np.zeros((11, 8), dtype=np.float32)),
        ("input.x", np.float32(1.0)),
        ("reference.p", np.float32(1.0)),
        ("reference.p", np.zeros((13, 1), dtype=np.float32)),
        ("reference.p", np.zeros((12, *[1] * (MAX_RANK + 1)), dtype=np.float32)),
        ("surprise", np.zeros(12, dtype=np.float32)),
    ],
)
def test_an_array_other_than_agreed_is_refused(
    arrays: dict[str, Any], build: Build, name: str, value: Any
) -> None:
    with pytest.raises(RefusedError) as caught:
        read_fixtures(build["npz"](_with(arrays, **{name: value})))
    assert caught.value.reason is Reason.DOCUMENT_INVALID


@pytest.mark.parametrize("name", ["case", "cohort", "label", "expected_decision", "input.x"])
def test_a_missing_array_is_refused(arrays: dict[str, Any], build: Build, name: str) -> None:
    del arrays[name]
    with pytest.raises(RefusedError):
        read_fixtures(build["npz"](arrays))


def test_a_pickle_is_refused_unread(arrays: dict[str, Any], build: Build) -> None:
    """Attack: an object array runs code when numpy unpickles it.  End: refused by its type."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the pickle was loaded",))

    with pytest.raises(RefusedError):
        read_fixtures(build["npz"](_with(arrays, label=np.array([Trap()] * 12, dtype=object))))


def test_a_bomb_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a megabyte of zeros in a kilobyte, a thousand times over.  End: cut at the limit."""
    monkeypatch.setattr(fixtures_module, "MAX_FIXTURE_BYTES", 1 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input.x.npy", bytes(1 << 24))
    with pytest.raises(RefusedError) as caught:
        read_fixtures(buffer.getvalue())
    assert "more than" in caught.value.found


def test_a_file_too_large_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures_module, "MAX_FIXTURE_BYTES", 10)
    with pytest.raises(RefusedError) as caught:
        read_fixtures(bytes(11))
    assert caught.value.reason is Reason.ARTIFACT_SIZE


def _repacked(
    arrays: dict[str, Any],
    compression: int = zipfile.ZIP_STORED,
    replaced: dict[str, bytes] | None = None,
) -> bytes:
    """The arrays in a zip of our own making, some of them as other bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", (replaced or {}).get(name, member.getvalue()))
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(arrays: dict[str, Any], compression: int) -> None:
    read_fixtures(_repacked(arrays))
    with pytest.raises(RefusedError) as caught:
        read_fixtures(_repacked(arrays, compression))
    assert "compression" in caught.value.found


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0"])
def test_bytes_that_are_not_as_many_as_the_shape_says_are_refused(
    arrays: dict[str, Any], change: Callable[[bytes], bytes]
) -> None:
    member = io.BytesIO()
    np.save(member, arrays["input.x"])
    with pytest.raises(RefusedError) as caught:
        read_fixtures(_repacked(arrays, replaced={"input.x": change(member.getvalue())}))
    assert "as many as" in caught.value.found


def test_a_member_that_stands_twice_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("case.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("case.npy", b"")
    with pytest.raises(RefusedError) as caught:
        read_fixtures(buffer.getvalue())
    assert "doubled" in caught.value.found


@settings(max_examples=200)
@given(content=st.binary(max_size=300))
def test_random_bytes_give_a_refusal_and_nothing_else(content: bytes) -> None:
    with pytest.raises(RefusedError):
        read_fixtures(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(data=st.data())
def test_damaged_fixtures_give_a_refusal_or_a_value_and_nothing_else(
    arrays: dict[str, Any], data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(buffer, **arrays)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RefusedError):
        read_fixtures(bytes(content[: data.draw(st.integers(1, len(content)))]))
