"""What the options of ``primum-repo fixtures`` state, as checked values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from primum_repo_tools.degradations import NEEDS_NOISE, NEEDS_RAILS, NEEDS_RATE, Field, Kind, Strip
from primum_repo_tools.degrading_asked import Expectation
from primum_repo_tools.given_arrays import read_array
from primum_repo_tools.model_interface import interface_of
from primum_repo_tools.release_plan import SelfTestPlan
from primum_repo_tools.self_test_file import Stated, changed, derived_self_test, read_self_test
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_Choice = TypeVar("_Choice", bound=StrEnum)
_REQUIRED = ("origin", "licence", "vectors", "risk_control")
_TOLERANCE = "0.0001"


def wrong_option(option: str, found: str, expected: str, remedy: str = "") -> UsageError:
    """The error for an option that cannot be taken."""
    return UsageError(
        "An option cannot be taken.",
        reason=Reason.USAGE,
        where=option,
        found=found,
        expected=expected,
        remedy=remedy,
    )


def choice(kind: type[_Choice], text: str, *, option: str) -> _Choice:
    """The member that ``text`` names.

    Raises:
        UsageError: there is no such member; all are told.
    """
    try:
        return kind(text)
    except ValueError:
        raise wrong_option(option, text[:80], ", ".join(kind)) from None


def stated_self_test(model: Path, given: Path | None, said: Mapping[str, Any]) -> SelfTestPlan:
    """The self-test that the fixtures are for.

    Args:
        model: the interface is taken from it where no self-test is given.
        given: a file with a self-test.
        said: the options by name, None where one was not given.

    Raises:
        UsageError: something is missing, or said twice.
    """
    told = {name: value for name, value in said.items() if value not in (None, [])}
    if given is not None:
        texts = {name: told.pop(name) for name in ("origin", "licence") if name in told}
        told.pop("fault_cohort", None)
        if told:
            raise wrong_option(
                _option(next(iter(told))),
                "stated beside --self-test",
                "what the self-test states already",
                f"Change it in {given}, or leave out --self-test.",
            )
        plan = read_self_test(given)
        plan = changed(plan, **texts) if texts else plan
    else:
        missing = [name for name in _REQUIRED if name not in told]
        if missing:
            raise wrong_option(
                _option(missing[0]),
                "not stated",
                "--self-test FILE, or " + ", ".join(_option(name) for name in _REQUIRED),
                "Origin and licence of the cases are signed with them.",
            )
        if ("decide" in told) != ("threshold" in told):
            raise wrong_option(
                "--decide", "one without the other", "--decide OUTPUT with --threshold VALUE"
            )
        plan = derived_self_test(interface_of(model), _stated(told))
    for name in ("origin", "licence"):
        if not getattr(plan, name).strip():
            raise wrong_option(_option(name), "nothing", "a text; it is signed with the cases")
    return plan


def _stated(told: Mapping[str, Any]) -> Stated:
    decides = (told["decide"], told.get("element")) if "decide" in told else None
    return Stated(
        origin=told["origin"],
        licence=told["licence"],
        vectors=told["vectors"],
        risk_control=told["risk_control"],
        decides=decides,
        threshold=told.get("threshold"),
        abs_tol=told.get("abs_tol", _TOLERANCE),
        rel_tol=told.get("rel_tol", _TOLERANCE),
        fault_cohorts=tuple(told.get("fault_cohort", ())),
    )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def expectations_from(
    stated: Sequence[str], *, accept_computed: bool
) -> Mapping[Kind, Expectation]:
    """What is expected of each kind of degradation, in the order stated.

    Raises:
        UsageError: none, an unknown or a doubled one; or one that takes what the model computes
            without saying so openly.
    """
    found: dict[Kind, Expectation] = {}
    for text in stated:
        name, _, expected = text.partition("=")
        kind = choice(Kind, name, option="--expect")
        if kind in found:
            raise wrong_option("--expect", f"{kind} twice", "each kind once")
        found[kind] = choice(Expectation, expected, option=f"--expect {kind}")
    if not found:
        raise wrong_option(
            "--expect", "nothing", "KIND=EXPECTATION, such as lead-off=no-decision",
            f"Kinds: {', '.join(Kind)}. Expectations: {', '.join(Expectation)}.",
        )  # fmt: skip
    if Expectation.AS_COMPUTED in found.values() and not accept_computed:
        raise wrong_option(
            "--expect",
            "as-computed",
            "as-computed with --accept-computed",
            "It signs whatever the model makes of a fault. State what it should do, or say that"
            " you accept what it does.",
        )
    return found


def field_from(
    kinds: Sequence[Kind],
    *,
    seed: int,
    rails: str | None,
    rate_hz: float | None,
    snr_db: float,
    gap: float,
    noise: Sequence[str],
) -> Field:
    """Device and field, as far as the kinds need them.

    Raises:
        UsageError: something that a kind needs is missing or out of bounds.
    """
    recorded = dict(_noise(text) for text in noise)
    for option, value, needing in (
        ("--rails", rails, NEEDS_RAILS),
        ("--rate", rate_hz, NEEDS_RATE - set(recorded)),
    ):
        needed = [kind for kind in kinds if kind in needing]
        if value is None and needed:
            raise wrong_option(option, "not stated", f"a value: {needed[0]} needs it")
    if rate_hz is not None and not 1 <= rate_hz <= 1e6:  # noqa: PLR2004 - of any recorder
        raise wrong_option("--rate", f"{rate_hz:g}", "1 to 1000000 samples a second")
    if not -60 <= snr_db <= 60:  # noqa: PLR2004 - beyond it there is no signal, or no noise
        raise wrong_option("--snr-db", f"{snr_db:g}", "-60 to 60 dB")
    if not 0 < gap < 1:
        raise wrong_option("--gap", f"{gap:g}", "a share of the strip, above 0 and below 1")
    return Field(
        seed=seed,
        rails=(0.0, 0.0) if rails is None else _rails(rails),
        rate_hz=rate_hz or 0.0,
        snr_db=snr_db,
        gap=gap,
        noise=recorded,
    )


def _rails(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -1e12 < low < high < 1e12:  # noqa: PLR2004 - also keeps NaN and infinity out
        raise wrong_option("--rails", text[:80], "LOW,HIGH in the unit of the input: -5.12,5.115")
    return low, high


def _noise(text: str) -> tuple[Kind, Strip]:
    name, _, path = text.partition("=")
    kind = choice(Kind, name, option="--noise")
    if kind not in NEEDS_NOISE or not path:
        raise wrong_option("--noise", text[:80], f"KIND=FILE.npy for {', '.join(NEEDS_NOISE)}")
    array = read_array(Path(path))
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        found = f"{path}: {array.dtype} of shape {list(array.shape)}"
        raise wrong_option("--noise", found, "finite numbers in one dimension, at the same rate")
    return kind, array.astype(np.float64)
