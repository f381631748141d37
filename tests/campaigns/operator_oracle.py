"""What plain onnxruntime makes of an operator test, compared with numpy as the verifier should.

``python -m tests.campaigns.operator_oracle`` reads paths of model, specification and fixtures, as
one JSON object a line, and writes one line for each.  Nothing of the verifier is imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.campaigns.model_oracle import NOT_LOADED, RAN, in_a_fork, plain_session

_MEMORY = 8 * 1024**3
_SECONDS = 60
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What it came to.

    Attributes:
        ended: ``ran``, ``not loaded``, ``not run``, ``crashed`` or ``timed out``.
        agrees: whether every number agrees with its reference, integers exactly.
        off: the largest difference, in words.
        exact: whether an output that disagrees holds integers or bools.
        error: the runtime's first words.
    """

    ended: str
    agrees: bool = False
    off: str = ""
    exact: bool = False
    error: str = ""


def ask(asked: dict[str, str]) -> Plain:
    """One test in a fork."""
    ended, gave = in_a_fork(lambda: asdict(_run(asked)), memory=_MEMORY, seconds=_SECONDS)
    return Plain(**gave) if ended == RAN else Plain(ended=ended)


def _run(asked: dict[str, str]) -> Plain:
    says = json.loads(Path(asked["spec"]).read_bytes())
    with np.load(asked["fixtures"], allow_pickle=False) as npz:
        arrays = {name: npz[name] for name in npz.files}
    try:
        session = plain_session(asked["model"])
    except Exception as error:  # noqa: BLE001 - native code may raise anything
        return Plain(ended=NOT_LOADED, error=_words(error))
    worst = Plain(ended=RAN, agrees=True)
    for number in range(len(arrays["case"])):
        feed = {
            one["name"]: _of_case(arrays[f"input.{one['name']}"], one["shape"], number)
            for one in says["interface"]["inputs"]
        }
        try:
            found = session.run(None, feed)
        except Exception as error:  # noqa: BLE001 - as above
            return Plain(ended=NOT_RUN, error=_words(error))
        for one, value in zip(says["interface"]["outputs"], found, strict=True):
            reference = _of_case(arrays[f"reference.{one['name']}"], one["shape"], number)
            compared = _compare(value, reference, says["tests"][-1])
            worst = worst if compared.agrees else compared
    return worst


def _of_case(array: Any, shape: list[int | str], number: int) -> Any:
    batch = shape[:1] == ["batch"]
    return array[number : number + 1] if batch else np.array(array[number], order="C")


def _compare(found: Any, reference: Any, tolerance: dict[str, str]) -> Plain:
    found = np.asarray(found)
    if found.shape != reference.shape or found.dtype != reference.dtype:
        off = f"{found.dtype}{list(found.shape)} for {reference.dtype}{list(reference.shape)}"
        return Plain(ended=RAN, off=off)
    if not np.issubdtype(found.dtype, np.floating):
        wrong = int(np.sum(found != reference))
        off = f"{wrong} of {found.size} {found.dtype}"
        return Plain(ended=RAN, agrees=wrong == 0, off=off, exact=True)
    one, other = found.astype("f8"), reference.astype("f8")
    near = np.isclose(
        one, other, atol=float(tolerance["absTol"]), rtol=float(tolerance["relTol"]), equal_nan=True
    )
    with np.errstate(invalid="ignore"):
        distance = np.abs(one - other)[~near]
    off = f"{int(np.sum(~near))} of {found.size} {found.dtype}"
    if distance.size:
        off += f", at most {np.max(np.where(np.isnan(distance), np.inf, distance)):.2g}"
    return Plain(ended=RAN, agrees=bool(near.all()), off=off)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def main() -> None:
    """Answer one line for each line."""
    for line in sys.stdin:
        print(json.dumps(asdict(ask(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
