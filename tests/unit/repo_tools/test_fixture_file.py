"""Fixtures are written as a device reads them, and the same ones as the same bytes."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum_repo_tools.fixture_file import fixture_bytes, read_fixture_file
from primum_repo_tools.given_arrays import cases_from_arrays
from primum_repo_tools.settings import checked_settings
from primum_verifier.core.errors import UsageError
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import FixtureArray, Fixtures, read_fixtures
from primum_verifier.proof.selftest_spec import Interface

NAMES = st.text("abcXYZ019_.:/-", min_size=1, max_size=120)
SIGNS = st.sampled_from((-1, 0, 1))


@st.composite
def some_fixtures(draw: st.DrawFn) -> Fixtures:
    cases = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    count = len(cases)
    each = st.lists(SIGNS, min_size=count, max_size=count).map(tuple)

    def arrays() -> list[FixtureArray]:
        made = []
        for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
            dtype = draw(st.sampled_from(ElementType))
            shape = (count, *draw(st.lists(st.integers(1, 3), max_size=4)))
            size = dtype.size * int(np.prod(shape))
            raw = draw(st.binary(min_size=size, max_size=size))
            data = bytes(byte & 1 for byte in raw) if dtype is ElementType.BOOL else raw
            made.append(FixtureArray(name, dtype, shape, data))
        return made

    digests = st.text("0123456789abcdef", min_size=64, max_size=64)
    return Fixtures(
        cases=tuple(cases),
        cohorts=tuple(draw(st.lists(NAMES, min_size=count, max_size=count))),
        labels=draw(each),
        expected_decisions=draw(each),
        references={array.name: array for array in arrays()},
        inputs=tuple(arrays()),
        baselines=draw(st.dictionaries(digests, each, max_size=2)),
    )


@given(some_fixtures())
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_is_read_back_by_the_device_and_by_numpy(fixtures: Fixtures) -> None:
    """NaN, negative zero and every other bit pattern included: bytes are compared."""
    data = fixture_bytes(fixtures)
    assert read_fixtures(data) == fixtures
    assert fixture_bytes(read_fixtures(data)) == data
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    assert tuple(loaded["case"].tolist()) == fixtures.cases
    for array in fixtures.inputs:
        assert loaded[f"input.{array.name}"].tobytes() == array.data
        assert loaded[f"input.{array.name}"].shape == array.shape


@given(
    dtype=st.sampled_from(ElementType),
    shape=st.lists(st.integers(1, 3), max_size=3),
    order=st.sampled_from("CF"),
    swap=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_whatever_arrays_are_handed_in_the_device_reads_their_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: Any,
    shape: Any,
    order: Any,
    swap: bool,
    seed: int,
) -> None:
    """Danger: column order or big-endian bytes of another machine become other signals."""
    whole = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 100, (4, *shape))
    array = np.asarray(whole.astype(dtype), order=order)
    if swap:
        array = array.astype(array.dtype.newbyteorder())
    path = tmp_path_factory.mktemp("arrays") / "cases.npz"
    plain: dict[str, Any] = {
        "input.x": array,
        "case": np.array(list("abcd")),
        "cohort": np.array(["one"] * 4),
        "label": np.array([1, 0, -1, 0]),
    }
    np.savez(path, **plain)
    tensors = [{"name": "x", "dtype": str(dtype), "shape": ["batch", *shape]}]
    interface = checked_settings(Interface, {"inputs": tensors, "outputs": tensors}, where="test")
    (found,) = cases_from_arrays(path, interface).inputs
    assert list(found.numbers()) == whole.astype(dtype).ravel().tolist()


def test_neither_the_clock_nor_the_folder_enters_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is stated here: another one on another machine would be seen."""
    array = FixtureArray("x", ElementType.INT8, (1, 2), b"\1\2")
    fixtures = Fixtures(
        cases=("a",), cohorts=("b",), labels=(1,), expected_decisions=(-1,),
        references={"x": array}, inputs=(array,), baselines={},
    )  # fmt: skip
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with zipfile.ZipFile(io.BytesIO(fixture_bytes(fixtures))) as archive:
        entries = archive.infolist()
        assert [entry.filename for entry in entries] == [
            "case.npy", "cohort.npy", "label.npy", "expected_decision.npy",
            "input.x.npy", "reference.x.npy",
        ]  # fmt: skip
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.create_system for entry in entries} == {3}
        raw = archive.read("input.x.npy")
    header = "{'descr': '|i1', 'fortran_order': False, 'shape': (1, 2), }"
    assert raw == b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n\1\2"


def test_what_a_device_would_not_read_is_not_written(tmp_path: Any) -> None:
    array = FixtureArray("x", ElementType.INT8, (1, 2), b"\1\2")
    fixtures = Fixtures(
        cases=("Jürgen Müller",), cohorts=("b",), labels=(1,), expected_decisions=(-1,),
        references={"x": array}, inputs=(array,), baselines={},
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        fixture_bytes(fixtures)
    assert "not plain ASCII" in caught.value.found
    (tmp_path / "x.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(UsageError, match="cannot be read"):
        read_fixture_file(tmp_path / "x.npz")
