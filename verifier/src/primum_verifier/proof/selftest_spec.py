"""The signed self-test specification: what a model must show on the device before it may run.

One JSON file of the release.  It names the interface of the model, its operating point, the
fixtures by digest, and the tests.  Each level of test is its own small closed class, so that a
member which one level does not know is refused instead of ignored.
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from primum_verifier.core.document import (
    Decimal,
    DigestSet,
    Document,
    Name,
    Positive,
    SchemaVersion,
    Slug,
    Text,
    Urn,
)
from primum_verifier.core.limits import MIB
from primum_verifier.proof.element_types import ElementType

MAX_CASES = 4096
"""Fixtures in one self-test: a bound on the time and memory of a wearable."""

MAX_TESTS = 64
"""Tests in one specification."""

MAX_TENSORS = 32
"""Inputs or outputs of one model."""

MAX_RANK = 8
"""Dimensions of one input or output."""

MAX_DIMENSION = 2**24
"""Elements along one dimension; above it a single case would not fit a wearable's memory."""

MAX_OUTPUT_BYTES = 8 * MIB
"""What all outputs of all cases may hold together: they pass through a report and are compared
one number at a time."""

MAX_ROUNDS = 20
"""Rounds of timing: a device that is busy for all of them is told so and tries again later."""

MAX_WARM_UP = 1000
"""Runs before timing begins."""

MAX_HARDWARE = 100
"""Kinds of hardware that one test may state limits for; a manifest names no more."""

MAX_COHORTS = 64
"""Cohorts that one test may name."""

MAX_TIME_LIMIT_SECONDS = 600
"""The longest self-test: a device that tests for longer than this is a device that hangs."""

MIN_MEMORY_MIB, MAX_MEMORY_MIB = 64, 8192
"""Memory that one self-test may be granted (MiB of address space)."""

BATCH = "batch"
"""The one dimension that the caller chooses; the self-test runs one case at a time."""

Member = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[\w.:/-]+$")]
"""The name of an input, an output or a cohort, as it stands in the model or the fixtures."""

Dimension = Annotated[int, Field(ge=1, le=MAX_DIMENSION)] | Literal["batch"]
Flips = Annotated[int, Field(ge=0, le=MAX_CASES)]
Unsigned = Annotated[
    str, StringConstraints(max_length=40, pattern=r"^[0-9]+(\.[0-9]+)?(e-?[0-9]{1,2})?$")
]
"""A decimal number that is not negative, as text."""


class OnFailure(StrEnum):
    """What a failed test asks for; there is no default, the signed file says it."""

    REFUSE = "refuse"
    DEGRADE = "degrade"
    WARN = "warn"


def _no_texts(value: object) -> object:
    if value == "string":
        raise ValueError("a tensor of texts is not compared here; give the model numbers")
    return value


class Baseline(StrEnum):
    """An earlier release that decisions are counted against."""

    ACTIVE = "active"
    """What serves patients on the device when the test is run."""

    ORIGINAL = "original"
    """What was authorised first, as the release's manifest names it."""


class TensorSpec(Document):
    """One input or output: its name, element type and shape, as the signed interface states it.

    A shape without dimensions is a single number.  Where the first dimension is ``batch``, the
    model is given one case at a time and the dimension is 1; where it is not, a case is the whole
    tensor.
    """

    name: Member
    dtype: Annotated[ElementType, BeforeValidator(_no_texts)]
    shape: Annotated[tuple[Dimension, ...], Field(max_length=MAX_RANK)]

    @model_validator(mode="after")
    def _batch_comes_first(self) -> Self:
        if BATCH in self.shape[1:]:
            raise ValueError("only the first dimension may be the batch")
        return self

    @property
    def call_shape(self) -> tuple[int, ...]:
        """The shape of one case as the model is given it, or gives it."""
        return tuple(1 if dimension == BATCH else int(dimension) for dimension in self.shape)

    @property
    def case_shape(self) -> tuple[int, ...]:
        """The shape of one case as the fixtures hold it: without the batch."""
        return self.call_shape[1:] if self.shape[:1] == (BATCH,) else self.call_shape

    @property
    def elements(self) -> int:
        """How many numbers one case holds."""
        return math.prod(self.call_shape)

    @property
    def case_bytes(self) -> int:
        """How many bytes one case holds."""
        return self.elements * self.dtype.size


Tensors = Annotated[tuple[TensorSpec, ...], Field(min_length=1, max_length=MAX_TENSORS)]


class Interface(Document):
    """What goes into the model and what comes out, in the model's own order."""

    inputs: Tensors
    outputs: Tensors

    @model_validator(mode="after")
    def _names_stand_once(self) -> Self:
        for tensors in (self.inputs, self.outputs):
            if len({tensor.name for tensor in tensors}) != len(tensors):
                raise ValueError("a name stands twice in the interface")
        return self


class OperatingPoint(Document):
    """How a number becomes a decision: this output, this threshold, this side.

    ``element`` says which number of an output that has several, counted from 0 in C order; an
    output of one number needs none.
    """

    output: Member
    element: Annotated[int, Field(ge=0, lt=MAX_DIMENSION)] | None = None
    threshold: Decimal
    positive_when: Literal["at-or-above"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An operating point that a decision can be computed with.

    Attributes:
        output: which output decides.
        element: which of its numbers, counted from 0 in C order.
        threshold: at or above it is positive.
    """

    output: TensorSpec
    element: int
    threshold: decimal.Decimal


class FixtureSet(Document):
    """The fixtures by digest, with where they come from and under which licence."""

    digest: DigestSet
    cases: Annotated[int, Field(ge=1, le=MAX_CASES)]
    origin: Text
    licence: Text


class _Test(Document):
    """What every test states: the criterion it guards, the risk it controls, and what follows."""

    id: Slug
    quality_criterion: Name
    risk_control_ref: Name
    mandatory: bool
    on_failure: OnFailure


class IntegrityTest(_Test):
    """The bytes that are tested are the bytes that were signed."""

    level: Literal["integrity"]


class LoadTest(_Test):
    """The runtime loads the model and runs every case without an error."""

    level: Literal["load"]


class InterfaceTest(_Test):
    """The loaded model has exactly the signed inputs and outputs."""

    level: Literal["interface"]


class NumericTest(_Test):
    """Every number of every output agrees with its reference.

    Floating numbers within ``absTol + relTol * |reference|``, integers and bools exactly; see
    :mod:`primum_verifier.proof.agreement`.
    """

    level: Literal["numeric"]
    abs_tol: Unsigned
    rel_tol: Unsigned


class FunctionalTest(_Test):
    """Decisions agree with the signed expectation, but for a stated number of flips.

    With ``no_worse_than`` they also err no more often against the labels than those earlier
    releases did, whose decisions on the same cases the fixtures hold.
    """

    level: Literal["functional"]
    max_decision_flips: Flips
    max_decision_flips_by_cohort: Annotated[dict[Member, Flips], Field(max_length=MAX_COHORTS)]
    no_worse_than: Annotated[tuple[Baseline, ...], Field(max_length=len(Baseline))] = ()

    @model_validator(mode="after")
    def _baselines_stand_once(self) -> Self:
        if len(set(self.no_worse_than)) != len(self.no_worse_than):
            raise ValueError("noWorseThan names a release twice")
        return self


class SafetyFunctionTest(_Test):
    """Every decision on one cohort of faults (dropout, NaN, saturation) is as expected."""

    level: Literal["safety-function"]
    cohort: Member


class Budget(Document):
    """What a model may take on one kind of hardware; a limit that is not stated is none.

    Times are wall-clock milliseconds: ``load_ms`` for loading the model, the others for one case;
    ``peak_rss_mib`` is the highest resident memory of the process that runs it.
    """

    load_ms: Positive | None = None
    p50_ms: Positive | None = None
    p95_ms: Positive | None = None
    p99_ms: Positive | None = None
    peak_rss_mib: Annotated[
        Annotated[int, Field(ge=1, le=MAX_MEMORY_MIB)] | None, Field(alias="peakRssMiB")
    ] = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("a budget without a limit")
        return self

    @property
    def latency_us(self) -> dict[str, int]:
        """The limits for one case in microseconds, by the names of ``latency.RANKS``."""
        stated = {"p50": self.p50_ms, "p95": self.p95_ms, "p99": self.p99_ms}
        return {name: limit * 1000 for name, limit in stated.items() if limit is not None}


class PerformanceTest(_Test):
    """The model keeps its time and memory on this hardware.

    A round runs every case ``repetitions`` times, after ``warm_up`` runs that are not counted.
    One round within the limits is enough; up to ``rounds`` are made, the next only where the last
    was not, and as long as the time limit leaves room.
    """

    level: Literal["performance"]
    warm_up: Annotated[int, Field(ge=0, le=MAX_WARM_UP)]
    repetitions: Annotated[int, Field(ge=1, le=MAX_CASES)]
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    limits: Annotated[dict[Slug, Budget], Field(min_length=1, max_length=MAX_HARDWARE)]


Test = Annotated[
    IntegrityTest
    | LoadTest
    | InterfaceTest
    | NumericTest
    | FunctionalTest
    | SafetyFunctionTest
    | PerformanceTest,
    Field(discriminator="level"),
]


class SelfTestSpec(Document):
    """A self-test as release engineering signed it.

    ``allowed_domains`` lists the operator domains that the model may use; the empty string is
    ``ai.onnx``.  ``min_tests`` is how many tests must have run: fewer is *incomplete*.
    ``operating_point`` may be left out where no test is about decisions.
    """

    schema_version: SchemaVersion
    id: Urn
    component: Slug
    interface: Interface
    opset_min: Annotated[int, Field(ge=1, le=1000)]
    opset_max: Annotated[int, Field(ge=1, le=1000)]
    allowed_domains: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=120)], ...], Field(max_length=16)
    ]
    operating_point: OperatingPoint | None = None
    fixtures: FixtureSet
    tests: Annotated[tuple[Test, ...], Field(min_length=1, max_length=MAX_TESTS)]
    min_tests: Annotated[int, Field(ge=1, le=MAX_TESTS)]
    total_time_limit_seconds: Annotated[int, Field(ge=1, le=MAX_TIME_LIMIT_SECONDS)]
    memory_limit_mib: Annotated[
        int, Field(alias="memoryLimitMiB", ge=MIN_MEMORY_MIB, le=MAX_MEMORY_MIB)
    ]
    golden_vectors_origin: Literal["synthetic", "derived"]

    COMPARING: ClassVar[frozenset[str]] = frozenset({"numeric", "functional"})
    DECIDING: ClassVar[frozenset[str]] = frozenset({"functional", "safety-function"})

    @model_validator(mode="after")
    def _can_prove_something(self) -> Self:
        if self.opset_min > self.opset_max:
            raise ValueError("opsetMin is above opsetMax")
        if len({test.id for test in self.tests}) != len(self.tests):
            raise ValueError("a test id stands twice")
        if self.min_tests > len(self.tests):
            raise ValueError("minTests is more than there are tests")
        if not any(test.mandatory and test.level in self.COMPARING for test in self.tests):
            raise ValueError("no mandatory test compares an output: this would prove nothing")
        performance = [test for test in self.tests if isinstance(test, PerformanceTest)]
        if len(performance) > 1:
            raise ValueError("there is more than one performance test: one states all limits")
        if any(test.repetitions * self.fixtures.cases > MAX_CASES for test in performance):
            raise ValueError(f"a round has more than {MAX_CASES} runs")
        self._check_operating_point()
        return self

    def _check_operating_point(self) -> None:
        point = self.operating_point
        if point is None:
            if any(test.level in self.DECIDING for test in self.tests):
                raise ValueError("a test is about decisions and there is no operating point")
            return
        outputs = {tensor.name: tensor for tensor in self.interface.outputs}
        if point.output not in outputs:
            raise ValueError("the operating point is at no output of the interface")
        elements = outputs[point.output].elements
        if point.element is None and elements != 1:
            raise ValueError("the operating point does not say at which element of its output")
        if point.element is not None and point.element >= elements:
            raise ValueError("the operating point is at an element that its output does not have")

    @property
    def performance(self) -> PerformanceTest | None:
        """How times are to be taken; None where nobody asks for them."""
        return next((test for test in self.tests if isinstance(test, PerformanceTest)), None)

    @property
    def point(self) -> Point:
        """The operating point with its output; only where a test is about decisions.

        The threshold is exact: no binary rounding moves a decision.
        """
        point = self.operating_point
        if point is None:
            raise RuntimeError("a specification without an operating point was asked to decide")
        return Point(
            output=next(one for one in self.interface.outputs if one.name == point.output),
            element=point.element or 0,
            threshold=decimal.Decimal(point.threshold),
        )
