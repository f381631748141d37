"""A release as code: ``release.toml``, the file that lies beside a trained model.

Everything that ends in the manifest comes from this file and the files it names; the clock, the
user and the folder have no way in, so the same inputs give the same bytes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from primum_repo_tools.component_plan import MAX_COMPONENTS, ComponentPlan
from primum_repo_tools.settings import FileName
from primum_verifier.core.document import (
    Count,
    Document,
    Name,
    Positive,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Version,
)
from primum_verifier.core.vocabulary import ChangeTier, Stage
from primum_verifier.proof.selftest_spec import (
    Interface,
    OperatingPoint,
    Test,
)


class ReleaseFiles(Document):
    """The files of the release. ``self_test`` stands here, or as a table of its own."""

    model: FileName
    fixtures: FileName
    intended_use: FileName
    self_test: FileName | None = None
    thresholds: FileName | None = None
    instructions: FileName | None = None
    monitoring: FileName | None = None


class SelfTestPlan(Document):
    """The self-test as parameters; digest, count and id are taken from the fixtures themselves."""

    interface: Interface
    opset_min: Annotated[int, Field(ge=1, le=1000)]
    opset_max: Annotated[int, Field(ge=1, le=1000)]
    allowed_domains: tuple[Annotated[str, StringConstraints(max_length=120)], ...]
    operating_point: OperatingPoint | None = None
    origin: Text
    licence: Text
    tests: tuple[Test, ...]
    min_tests: int
    total_time_limit_seconds: int
    memory_limit_mib: Annotated[int, Field(alias="memoryLimitMiB")]
    golden_vectors_origin: Annotated[str, StringConstraints(pattern="^(synthetic|derived)$")]


class ReleasePlan(Document):
    """The whole of ``release.toml``. Versions in ``previous`` and ``original`` are our own."""

    schema_version: SchemaVersion
    component: Slug
    version: Version
    release_counter: Positive
    created_at: Time
    hardware: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    min_agent_version: Version
    max_stage: Stage
    change_tier: ChangeTier
    summary: Text
    ifu_version: Name
    udi_di: Name
    floor_counter: Count
    data_floor_counter: Count = 0
    health_window_seconds: Annotated[int, Field(ge=1, le=86_400)]
    max_attempts: Annotated[int, Field(ge=1, le=20)]
    files: ReleaseFiles
    components: tuple[ComponentPlan, ...] = Field(default=(), max_length=MAX_COMPONENTS)
    self_test: SelfTestPlan | None = None
    previous: Version | None = None
    original: Version | None = None

    @model_validator(mode="after")
    def _says_each_thing_once(self) -> ReleasePlan:
        if (self.files.self_test is None) == (self.self_test is None):
            raise ValueError("the self-test stands in files.self_test or in [self_test]: one")
        if (self.previous is None) != (self.original is None):
            raise ValueError("previous and original stand together, or this is a first release")
        if self.version in (self.previous, self.original):
            raise ValueError("a release is not its own baseline")
        ids = [component.id for component in self.components]
        if len(set(ids)) != len(ids):
            raise ValueError("two components share an id")
        if self.data_floor_counter > self.release_counter:
            raise ValueError("data_floor_counter is above the counter of this very release")
        return self
