"""The record of a retraining: why, on whom, from what, by which code, and into which model.

Retraining is a controlled event (FDA PCCP guidance (2025) VII.B(2)).  A record is whole in itself:
whoever was tested on was not trained on, by the patients themselves and not by a promise.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.change.comparison_analysis import Excluded
from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Version,
)
from primum_verifier.core.vocabulary import ChangeTier

RETRAINING_TYPE = "urn:primum:retraining-record:v0.1"
MAX_DATA_SETS = 100

Commit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
SetRole = Literal["train", "tune", "test"]


class Trigger(Document):
    """Why somebody retrained; the reference leads to the triage record, alarm or plan."""

    kind: Literal["scheduled", "drift", "feedback", "new-data", "correction"]
    reference: Name
    text: Text


class CohortWindow(Document):
    """From when to when the patients were recorded."""

    begin: Time
    end: Time

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> CohortWindow:
        if self.begin >= self.end:
            raise ValueError("a window ends after it begins")
        return self


class Labels(Document):
    """Where the labels come from."""

    method: Text
    readers: Count
    adjudication: Text


class DataSet(Document):
    """One set of data.

    Attributes:
        manifest: of the document that lists its files and their origin.
        patient_list: of the sorted pseudonyms, one a line: who was in it, without naming anybody.
        cases: of the locked cases, for a test set that has a ledger.
    """

    name: Name
    role: SetRole
    manifest: DigestSet
    patients: Positive
    patient_list: DigestSet
    cases: DigestSet | None = None


class Overlap(Document):
    """How many patients two sets share."""

    seen: Name
    tested: Name
    patients: Count


class Code(Document):
    """What trained: the repository with its commit, or an archive, or both."""

    repository: Text
    commit: Commit | None = None
    archive: DigestSet | None = None
    container: DigestSet | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Code:
        if self.commit is None and self.archive is None:
            raise ValueError("code without commit and without archive leads nowhere")
        return self


class TrainedModel(Document):
    """A model and the release that carries it."""

    version: Version
    release: DigestSet
    model: DigestSet


class RetrainingRecord(OpenDocument):
    """A retraining: trigger, patients, data in and out, labels, code, and the model it made."""

    type: Literal["urn:primum:retraining-record:v0.1"]
    schema_version: SchemaVersion
    component: Slug
    change_tier: ChangeTier
    trigger: Trigger
    window: CohortWindow
    inclusion: Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]
    exclusion: Annotated[tuple[Excluded, ...], Field(max_length=50)] = ()
    data_sets: Annotated[tuple[DataSet, ...], Field(min_length=2, max_length=MAX_DATA_SETS)]
    added: Annotated[tuple[Name, ...], Field(max_length=MAX_DATA_SETS)] = ()
    removed: Annotated[tuple[Name, ...], Field(max_length=MAX_DATA_SETS)] = ()
    labels: Labels
    overlaps: Annotated[tuple[Overlap, ...], Field(max_length=MAX_DATA_SETS**2)]
    seed: Count
    hyper_parameters: DigestSet
    code: Code
    result: TrainedModel
    parent: TrainedModel

    @model_validator(mode="after")
    def _is_whole(self) -> RetrainingRecord:
        names = [item.name for item in self.data_sets]
        if len(set(names)) != len(names):
            raise ValueError("a data set stands twice")
        if not set(self.added) <= set(names) or set(self.removed) & set(names):
            raise ValueError("what was added is used, what was removed is not")
        seen = [item.name for item in self.data_sets if item.role != "test"]
        tested = [item.name for item in self.data_sets if item.role == "test"]
        if not any(item.role == "train" for item in self.data_sets) or not tested:
            raise ValueError("a retraining trains on one set and is tested on another")
        asked = sorted((item.seen, item.tested) for item in self.overlaps)
        if asked != sorted(product(seen, tested)):
            raise ValueError("each set that was seen is held against each that was tested, once")
        if any(item.patients for item in self.overlaps):
            raise ValueError("patients were tested on whom the model had seen")
        if self.result.model == self.parent.model:
            raise ValueError("nothing was retrained: the model is its parent")
        return self
