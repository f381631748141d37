"""Deltas as they are made: each makes its file, and is small where two files share much."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from primum_repo_tools.deltas import alignment, edits, making
from primum_repo_tools.deltas.alignment import Run, align
from primum_repo_tools.deltas.making import MadeDelta, make_delta
from primum_repo_tools.deltas.tensors import matching_weights
from primum_verifier.delta.applying import apply_delta


def made(tmp_path: Path, old: bytes, new: bytes) -> MadeDelta:
    """The delta; what it makes was compared by the maker, and is once more."""
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    delta = make_delta(tmp_path / "old", tmp_path / "new")
    pieces = apply_delta(
        [delta.data],
        base=lambda place, length: old[place : place + length],
        base_length=len(old),
        length=len(new),
    )
    assert b"".join(pieces) == new
    return delta


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def array(data: bytes) -> alignment.Bytes:
    return np.frombuffer(data, dtype=np.uint8)


def test_a_file_that_only_grew_in_its_middle_costs_what_was_put_in(tmp_path: Path) -> None:
    old = noise(200_000)
    own = noise(300, 2)
    delta = made(tmp_path, old, old[:70_001] + own + old[70_001:])
    assert len(delta.data) < 300 + 60
    assert delta.computed == 0


def test_what_moved_is_found_again(tmp_path: Path) -> None:
    old = noise(300_000)
    new = old[200_000:] + old[100_000:200_000] + old[:100_000]
    assert len(made(tmp_path, old, new).data) < 100


def test_bytes_that_change_all_over_a_program_cost_little_more_than_themselves(
    tmp_path: Path,
) -> None:
    old = bytearray(noise(200_000))
    new = bytearray(old)
    for place in range(0, len(new), 100):
        new[place] = (new[place] + 4) % 256
    assert len(made(tmp_path, bytes(old), bytes(new)).data) < 2_000 / 4


def test_files_with_nothing_in_common_cost_the_new_one(tmp_path: Path) -> None:
    new = noise(150_000, 3)
    assert len(made(tmp_path, noise(150_000), new).data) < len(new) + 100


def test_of_two_ways_to_tell_what_is_alike_the_smaller_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the bytes of a new part are equal by chance: to call it a run costs more."""
    old, chance = noise(400_000), random.Random(6)
    new = bytearray(old[:200_000])
    for at in range(200_000, 400_000, 20):
        new += old[at : at + 16] + chance.randbytes(12)
    both = made(tmp_path, old, bytes(new))
    monkeypatch.setattr(making, "_MIN_STRICT", len(new))
    assert len(both.data) <= len(made(tmp_path, old, bytes(new)).data)


@pytest.mark.parametrize("old", [b"", b"short", bytes(100_000), b"ab" * 50_000])
def test_a_file_without_samples_is_no_obstacle(tmp_path: Path, old: bytes) -> None:
    made(tmp_path, old, bytes(70_000) + b"end" * 1_000)
    made(tmp_path, old, b"x")


def test_an_edit_is_cut_before_a_device_would_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "_MOST_BYTES", 5_000)
    monkeypatch.setattr(edits, "_WINDOW", 2_000)
    old = noise(60_000)
    new = bytearray(noise(20_000, 5) + old)
    for place in range(20_000, len(new), 7):
        new[place] ^= 1
    made(tmp_path, old, bytes(new))


def test_a_delta_that_makes_another_file_never_leaves_the_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "align", lambda _old, _new, _strictness: [Run(0, 10, 5)])
    with monkeypatch.context() as changed:
        changed.setattr(
            edits._Edit,
            "_note_changes",
            lambda *_: None,
        )
        with pytest.raises(RuntimeError):
            made(tmp_path, noise(100), noise(100, 2))


_BLOCKS = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8)


@settings(max_examples=60)
@given(blocks=_BLOCKS, data=st.data())
def test_whatever_is_cut_doubled_and_bent_comes_out_right(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes], data: st.DataObject
) -> None:
    order = data.draw(st.lists(st.integers(0, len(blocks) - 1), min_size=1, max_size=12))
    new = bytearray(b"".join(blocks[index] * data.draw(st.integers(1, 3)) for index in order))
    for _ in range(data.draw(st.integers(0, 4))):
        new[data.draw(st.integers(0, len(new) - 1))] ^= data.draw(st.integers(1, 255))
    made(tmp_path_factory.mktemp("delta"), b"".join(blocks) * 2, bytes(new))


@settings(max_examples=60)
@given(blocks=_BLOCKS, data=st.data())
def test_runs_lie_in_both_files_and_never_overlap(blocks: list[bytes], data: st.DataObject) -> None:
    old = b"".join(blocks) * 3
    new = b"".join(data.draw(st.permutations(blocks))) * 2 + old[::2]
    at = 0
    for run in align(array(old), array(new)):
        assert at <= run.start < run.end <= len(new)
        assert 0 <= run.base <= run.base + run.end - run.start <= len(old)
        at = run.end


# Models


def model(weights: dict[str, np.ndarray], *, note: str = "") -> bytes:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constant = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(next(iter(weights.values())) * 2, "")
    )
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, None)
    graph = helper.make_graph([constant], "g", [], [output], initializer=tensors)
    return bytes(helper.make_model(graph, doc_string=note).SerializeToString())


def retrained(weights: dict[str, np.ndarray], *, by: float = 1e-3) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(4)
    return {
        name: (value + chance.normal(0, by, value.shape)).astype(value.dtype)
        for name, value in weights.items()
    }


def some_weights(kind: str = "<f4") -> dict[str, np.ndarray]:
    chance = np.random.default_rng(3)
    return {name: chance.normal(0, 0.05, (100, 200)).astype(kind) for name in ("first", "second")}


@pytest.mark.parametrize(("kind", "most"), [("<f4", 0.80), ("<f8", 0.92), ("<f2", 0.75)])
def test_a_model_that_was_trained_on_costs_its_differences(
    tmp_path: Path, kind: str, most: float
) -> None:
    old = some_weights(kind)
    before, after = model(old), model(retrained(old), note="trained on")
    delta = made(tmp_path, before, after)
    assert len(delta.data) < most * len(after)
    assert delta.computed >= 2 * old["first"].nbytes


def test_weights_are_found_under_another_name(tmp_path: Path) -> None:
    old = some_weights()
    new = {f"renamed.{name}": value for name, value in retrained(old).items()}
    assert len(made(tmp_path, model(old), model(new)).data) < 0.8 * len(model(new))


def test_weights_that_have_nothing_in_common_are_no_planes(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    old = some_weights()
    new = {name: chance.normal(0, 50, value.shape).astype("<f4") for name, value in old.items()}
    assert made(tmp_path, model(old), model(new)).computed == 0


def test_a_last_layer_that_was_trained_on_costs_that_layer(tmp_path: Path) -> None:
    old = some_weights()
    new = {**old, "second": retrained(old)["second"]}
    delta = made(tmp_path, model(old), model(new))
    assert len(delta.data) < 0.8 * old["second"].nbytes + 200
    assert delta.computed == old["second"].nbytes


def test_metadata_alone_costs_next_to_nothing(tmp_path: Path) -> None:
    old = some_weights()
    before, after = model(old, note="version 1.0.0"), model(old, note="version 1.0.1 of May")
    assert len(made(tmp_path, before, after).data) < 91


def test_a_weight_is_known_by_name_form_and_type() -> None:
    old, new = some_weights(), some_weights()
    new["first"] = new["first"][:50]
    new["third"] = np.zeros(10, "<f4")
    new["flags"] = np.zeros(1000, "bool")
    found = matching_weights(array(model(old)), array(model(new)))
    # "second", and the constant in a node has no like: its form is that of "first".
    assert [item.width for item in found] == [4]


@pytest.mark.parametrize("data", [b"", noise(500), b"\x3a\x05\x2a\xff\xff\xff\x0f", b"\x38\x01"])
def test_what_is_no_model_has_no_weights(data: bytes) -> None:
    assert matching_weights(array(data), array(model(some_weights()))) == []
    assert matching_weights(array(model(some_weights())), array(data)) == []
