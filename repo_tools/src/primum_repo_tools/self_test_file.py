"""The table ``[self_test]`` of a release, read from where it stands and written beside fixtures.

Fixtures and self-test belong together: what decides, how far a number may be off, where the cases
come from and under which licence.  ``primum-repo fixtures`` writes the table ready to be put into
``release.toml``; digest, number of cases and id are taken from the fixtures when it is built.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primum_repo_tools.files import read_input
from primum_repo_tools.model_interface import ModelInterface
from primum_repo_tools.release_plan import SelfTestPlan
from primum_repo_tools.settings import checked_settings
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_spec import SelfTestSpec

TIME_LIMIT_SECONDS = 60
"""Of a self-test that nobody has measured yet; the table is there to be edited."""

MEMORY_LIMIT_MIB = 1024
"""As above."""

_WRITTEN = "# Written by primum-repo fixtures as sha256 "
"""Begins the first line; the digest is of all that follows it."""

_NOT_PLANNED = ("schemaVersion", "id", "component", "fixtures")
_DRAFT_ID = "urn:uuid:00000000-0000-8000-8000-000000000000"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a person says where no self-test exists yet.

    Attributes:
        origin: where the cases come from.
        licence: under which they may be used.
        vectors: "synthetic" or "derived" (from recordings).
        risk_control: what every derived test serves.
        decides: output and, where it has several numbers, element; None where nothing is decided.
        threshold: at or above it is positive.
        abs_tol, rel_tol: of the numeric test.
        fault_cohorts: cohorts of faults, with a test of their own where something is decided.
    """

    origin: str
    licence: str
    vectors: str
    risk_control: str
    decides: tuple[str, int | None] | None
    threshold: str | None
    abs_tol: str
    rel_tol: str
    fault_cohorts: tuple[str, ...]


def sidecar_of(fixtures: Path) -> Path:
    """Where the table of a fixture file is written: ``fixtures.self-test.toml`` beside it."""
    return fixtures.with_name(f"{fixtures.name.removesuffix('.npz')}.self-test.toml")


def read_self_test(path: Path) -> SelfTestPlan:
    """The self-test in a ``release.toml``, in a table of its own, or in a specification (.json).

    Raises:
        UsageError: missing, unreadable, or no self-test in it.
    """
    data = read_input(path, what="self-test")
    if path.suffix == ".json":
        specification = parse_document(SelfTestSpec, data, where=str(path))
        content = specification.model_dump(mode="json", by_alias=True, exclude_none=True)
        fixtures = content["fixtures"]
        content = {key: value for key, value in content.items() if key not in _NOT_PLANNED}
        content |= {"origin": fixtures["origin"], "licence": fixtures["licence"]}
        return checked_settings(SelfTestPlan, content, where=str(path))
    try:
        table = tomllib.loads(data.decode("utf-8", "strict"))
    except (ValueError, RecursionError) as error:
        raise _no_self_test(path, str(error)[:200]) from error
    for name in ("self_test", "selfTest"):
        if isinstance(table.get(name), dict):
            return checked_settings(SelfTestPlan, table[name], where=f"{path}: [{name}]")
    raise _no_self_test(path, f"tables {', '.join(sorted(table)) or 'none'}")


def derived_self_test(model: ModelInterface, said: Stated) -> SelfTestPlan:
    """A self-test for a model that has none yet: loads, has its interface, computes and decides.

    Raises:
        UsageError: what was said is not allowed in a specification.
    """
    tests: list[dict[str, object]] = [
        _test("load", "load", "the runtime of the device loads it", said.risk_control),
        _test("interface", "interface", "its interface is the signed one", said.risk_control),
        _test("numeric", "numeric", "it computes what was validated", said.risk_control)
        | {"abs_tol": said.abs_tol, "rel_tol": said.rel_tol},
    ]
    content: dict[str, object] = {
        "interface": model.interface.model_dump(mode="json"),
        "opset_min": model.opset,
        "opset_max": model.opset,
        "allowed_domains": list(model.domains),
        "origin": said.origin,
        "licence": said.licence,
        "total_time_limit_seconds": TIME_LIMIT_SECONDS,
        "memory_limit_mib": MEMORY_LIMIT_MIB,
        "golden_vectors_origin": said.vectors,
    }
    if said.decides is not None:
        output, element = said.decides
        content["operating_point"] = {
            "output": output,
            **({} if element is None else {"element": element}),
            "threshold": said.threshold,
            "positive_when": "at-or-above",
        }
        tests.append(
            _test("functional", "functional", "it decides as validated", said.risk_control)
            | {"max_decision_flips": 0, "max_decision_flips_by_cohort": {}}
        )
        tests += [safety_test(cohort, said.risk_control) for cohort in said.fault_cohorts]
    content |= {"tests": tests, "min_tests": len(tests)}
    return checked_settings(SelfTestPlan, content, where="command line")


def safety_test(cohort: str, risk_control: str) -> dict[str, object]:
    """A test that every decision on a cohort of faults is as expected."""
    criterion = f"every decision in {cohort} is as expected".replace("_", "-")
    name = f"safety-{cohort}".lower().replace(":", "-").replace("/", "-")
    return _test(name, "safety-function", criterion, risk_control) | {"cohort": cohort}


def changed(plan: SelfTestPlan, **members: object) -> SelfTestPlan:
    """The same self-test with other members.

    Raises:
        UsageError: they are not allowed in a specification.
    """
    content = plan.model_dump(mode="json", exclude_none=True) | members
    return checked_settings(SelfTestPlan, content, where="[self_test]")


def told_origin(origin: str, added: str) -> str:
    """An origin with one more sentence."""
    return f"{origin.strip().rstrip('.')}. {added}" if origin.strip() else added


def specification_of(plan: SelfTestPlan, *, sha256: str, cases: int) -> SelfTestSpec:
    """The specification that this table makes of a fixture file, before a release names it.

    Raises:
        RefusedError: the table states what no specification may state.
    """
    content = plan.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["fixtures"] = {
        "digest": {"sha256": sha256},
        "cases": cases,
        "origin": content.pop("origin"),
        "licence": content.pop("licence"),
    }
    content |= {"schemaVersion": "0.1", "id": _DRAFT_ID, "component": "draft"}
    return parse_document(SelfTestSpec, canonical_json(content), where="[self_test]")


def self_test_toml(plan: SelfTestPlan, *, fixtures: str, sha256: str) -> bytes:
    """The table as a person reads and edits it; the same bytes for the same plan.

    Args:
        plan: of the self-test.
        fixtures: name of the file that it was made with.
        sha256: digest of that file.
    """
    content = plan.model_dump(mode="json", exclude_none=True)
    lines = [
        f"# The self-test of {fixtures}, sha256 {sha256}.",
        "# Put it into release.toml and review it: limits, tolerances, criteria and risk controls.",
        "",
        *_table("self_test", content),
        "",
    ]
    text = "\n".join(lines).encode()
    return f"{_WRITTEN}{sha256_hex(text)}\n".encode() + text


def was_edited(data: bytes) -> bool:
    """Whether a table is another one than was written; only an unedited one is replaced."""
    first, _, text = data.partition(b"\n")
    return first != f"{_WRITTEN}{sha256_hex(text)}".encode()


def _table(name: str, content: Mapping[str, object]) -> Iterator[str]:
    yield f"[{name}]"
    below: dict[str, object] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) or key == "tests":
            below[key] = value
        else:
            yield f"{key} = {_value(value)}"
    for key, value in below.items():
        if isinstance(value, Mapping):
            yield from ("", *_table(f"{name}.{key}", value))
        elif isinstance(value, Sequence):
            for entry in value:
                yield from ("", f"[[{name}.{key}]]")
                yield from (f"{member} = {_value(stated)}" for member, stated in entry.items())


def _value(value: object) -> str:
    """One value; a JSON text is a TOML text once DEL is escaped too (TOML 1.0, strings)."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_value(key)} = {_value(stated)}" for key, stated in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _test(name: str, level: str, criterion: str, risk_control: str) -> dict[str, object]:
    return {
        "id": name,
        "level": level,
        "quality_criterion": criterion,
        "risk_control_ref": risk_control,
        "mandatory": True,
        "on_failure": "refuse",
    }


def _no_self_test(path: Path, found: str) -> UsageError:
    return UsageError(
        "There is no self-test in this file.",
        reason=Reason.USAGE,
        where=str(path),
        found=found,
        expected="a table [self_test], as in release.toml, or a specification (.json)",
        remedy="Name another file with --self-test, or make the fixtures anew without it.",
    )
