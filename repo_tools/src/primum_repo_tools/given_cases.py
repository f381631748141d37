"""Cases as somebody handed them in: known inputs, before a reference was computed for them.

Whatever they were read from (arrays, ONNX test data), they are checked here in one way against the
interface of the model, so that a wrong shape is told where it was made and not on a device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import FixtureArray
from primum_verifier.proof.selftest_spec import MAX_CASES, Tensors, TensorSpec

MAX_SHOWN = 5
"""Names that an error shows of those that are wrong."""

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class GivenCases:
    """Known inputs, each tuple in the order of the cases.

    Attributes:
        where: the file or folder, for messages.
        cases: unique names.
        cohorts: the group of each.
        labels: 1, 0, or -1 unlabelled.
        inputs: in the order of the interface.
        references: outputs that came with the cases; empty where none did.
        expected: decisions that somebody expects; None where nobody said.
        baselines: what earlier releases decided, by the SHA-256 of their manifests.
    """

    where: str
    cases: tuple[str, ...]
    cohorts: tuple[str, ...]
    labels: tuple[int, ...]
    inputs: tuple[FixtureArray, ...]
    references: dict[str, FixtureArray] = field(default_factory=dict)
    expected: tuple[int, ...] | None = None
    baselines: dict[str, tuple[int, ...]] = field(default_factory=dict)


def wrong_cases(where: str, found: str, expected: str, remedy: str) -> UsageError:
    """The error for cases that cannot become fixtures."""
    return UsageError(
        "The cases cannot become fixtures.",
        reason=Reason.USAGE,
        where=where,
        found=found,
        expected=expected,
        remedy=remedy,
    )


def check_names(cases: Sequence[str], *, where: str) -> None:
    """Check that there are cases, not too many, and that no two share a name.

    Raises:
        UsageError: that is not so.
    """
    if not 1 <= len(cases) <= MAX_CASES:
        raise wrong_cases(
            where,
            f"{len(cases)} cases",
            f"1 to {MAX_CASES} cases",
            "Choose cases: a self-test takes seconds of a device's time, it is no study.",
        )
    twice = [name for name, count in Counter(cases).items() if count > 1]
    if twice:
        raise wrong_cases(
            where,
            f"names that stand twice: {shown(twice)}",
            "a name of its own for each case",
            "Name the recording and the place in it, such as rec208-beat-017.",
        )


def tensors_of(
    arrays: Mapping[str, Array], tensors: Tensors, *, family: str, count: int, where: str
) -> tuple[FixtureArray, ...]:
    """The arrays of a family, checked against the interface and in its order.

    Args:
        arrays: by the name of the input or output; [n, ...] each.
        tensors: inputs or outputs of the interface.
        family: "input" or "reference", for messages.
        count: how many cases there are.
        where: the file or folder, for messages.

    Raises:
        UsageError: another name, element type, shape or number of cases.
    """
    names = [tensor.name for tensor in tensors]
    if set(arrays) != set(names):
        raise wrong_cases(
            where,
            f"{family}s: {shown(sorted(arrays)) or 'none'}",
            f"{family}s of the model: {shown(names)}",
            f"Name each array {family}.NAME, by the names that the model has.",
        )
    return tuple(
        _tensor(arrays[tensor.name], tensor, family=family, count=count, where=where)
        for tensor in tensors
    )


def _tensor(
    array: Array, tensor: TensorSpec, *, family: str, count: int, where: str
) -> FixtureArray:
    wanted = (count, *tensor.case_shape)
    name = f"{family}.{tensor.name}"
    if array.dtype.name != tensor.dtype:
        raise wrong_cases(
            where,
            f"{name}: {array.dtype.name}",
            f"{tensor.dtype}, as the model has it",
            f'Convert it yourself, array.astype("{tensor.dtype}"), and look at what it loses.',
        )
    if array.shape != wanted:
        raise wrong_cases(
            where,
            f"{name}: shape {list(array.shape)}",
            f"shape {list(wanted)}: the cases, then one case without the batch",
            "Stack the cases along a first axis; a batch dimension is not part of a case.",
        )
    return FixtureArray(tensor.name, tensor.dtype, wanted, plain_bytes(array, tensor.dtype))


def plain_bytes(array: Array, dtype: ElementType) -> bytes:
    """The numbers as they stand in the file: little-endian, C order."""
    return np.ascontiguousarray(array, dtype=np.dtype(str(dtype)).newbyteorder("<")).tobytes()


def shown(names: Sequence[str]) -> str:
    """The first of some names."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
