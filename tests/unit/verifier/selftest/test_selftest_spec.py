"""The signed specification: closed, bounded, and never one that proves nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.proof.selftest_spec import SelfTestSpec

Build = dict[str, Callable[..., Any]]


@pytest.fixture
def content(build: Build) -> dict[str, Any]:
    made: dict[str, Any] = build["specification"](b"")
    return made


def parse(content: dict[str, Any]) -> SelfTestSpec:
    return parse_document(SelfTestSpec, json.dumps(content).encode(), where="selftest.json")


def test_a_whole_specification_is_read_and_written_alike(content: dict[str, Any]) -> None:
    spec = parse(content)
    assert json.loads(spec.to_bytes()) == content


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


def _only_integrity(content: dict[str, Any]) -> None:
    content["tests"], content["minTests"] = content["tests"][:1], 1


def _only_optional(content: dict[str, Any]) -> None:
    for test in content["tests"]:
        test["mandatory"] = False


@pytest.mark.parametrize(
    "change",
    [
        _set("schemaVersion", to="0.2"),
        _set("surprise", to=1),
        _set("tests", 0, "absTol", to="1"),  # a member of another level
        _set("tests", 3, "absTol", to=0.1),  # a binary number where a decimal stands
        _set("tests", 3, "absTol", to="-1"),
        _set("tests", 3, "absTol", to="nan"),
        _set("tests", 4, "maxDecisionFlips", to=-1),
        _set("tests", 0, "level", to="trust-me"),
        _set("tests", 0, "onFailure", to="ignore"),
        _drop("tests", 0, "onFailure"),
        _drop("tests", 0, "riskControlRef"),
        _set("tests", 0, "id", to="loads"),  # an id that stands twice
        _set("tests", to=[]),
        _only_integrity,
        _only_optional,
        _set("minTests", to=0),
        _set("minTests", to=8),
        _set("opsetMin", to=22),
        _set("totalTimeLimitSeconds", to=100_000),
        _set("memoryLimitMiB", to=10**9),
        _set("operatingPoint", "output", to="q"),
        _set("operatingPoint", "threshold", to="inf"),
        _set("operatingPoint", "positiveWhen", to="below"),
        _set("interface", "inputs", 0, "dtype", to="string"),
        _set("interface", "inputs", 0, "dtype", to="bfloat16"),
        lambda content: content["interface"]["inputs"].append(content["interface"]["inputs"][0]),
        _set("interface", "inputs", 0, "shape", to=[8, "batch"]),
        _set("interface", "inputs", 0, "shape", to=["batch", 0]),
        _set("interface", "inputs", 0, "shape", to=[1] * 9),
        _set("interface", "outputs", 0, "shape", to=["batch", 2]),
        _set("operatingPoint", "element", to=1),
        _set("operatingPoint", "element", to=-1),
        _drop("operatingPoint"),
        _set("fixtures", "digest", "sha256", to="ABC"),
        _set("fixtures", "digest", to={"md5": "0" * 32}),
        _set("fixtures", "cases", to=0),
        _set("goldenVectorsOrigin", to="guessed"),
    ],
)
def test_what_is_no_specification_is_refused(
    content: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    parse(copy.deepcopy(content))
    change(content)
    with pytest.raises(RefusedError):
        parse(content)


def test_nobody_decides_without_an_operating_point(content: dict[str, Any]) -> None:
    """A fault of our own code, which a specification that was read cannot bring about."""
    del content["operatingPoint"]
    content["tests"] = content["tests"][:4]
    content["minTests"] = 4
    with pytest.raises(RuntimeError):
        _ = parse(content).point
