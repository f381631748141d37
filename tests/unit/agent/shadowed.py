"""A device with a release in use and another that is signed for shadow, and a runner beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from primum_agent.shadow_run import ShadowRun, read_shadow
from primum_device_sim.authorities.documents import FEATURES
from primum_verifier.core.document import canonical_json

Attempt = Callable[..., int]
DONE, REFUSED = 0, 1
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
STUDY = {
    "protocolId": "STUDY-7",
    "approvalRef": "EC-1",
    "until": "2031-01-01T00:00:00Z",
    "devices": ["wearable-001"],
}
FOR_SHADOW: dict[str, Any] = {
    "decision": "shadow-only",
    "use": {"mode": "shadow"},
    "study": STUDY,
}
RUNNING = "1.0.0"
IN_SHADOW = "1.1.0"


def monitoring_bytes(**members: Any) -> bytes:
    """A signed monitoring specification with the bins of a shadow."""
    content = json.loads((EXAMPLES / "monitoring-specification.json").read_text("utf-8"))
    return canonical_json(content | {"windowHours": 24} | members)


def runs(field: Any, attempt_now: Attempt) -> Any:
    """A device of a hospital that runs a proven release."""
    field.add_site()
    field.enroll()
    field.release(RUNNING, counter=1)
    field.accept(RUNNING)
    assert attempt_now() == DONE
    field.commit()
    return field


def offered(field: Any, *, scale: float = 1.0, monitoring: bytes | None = None) -> Any:
    """The plan gives the device a release that is signed for shadow only; nobody accepted it."""
    field.said = FOR_SHADOW
    given = monitoring_bytes() if monitoring is None else monitoring
    field.release(IN_SHADOW, counter=2, scale=scale, monitoring=given)
    field.said = {}
    return field


def shadowed(field: Any, attempt_now: Attempt, *, scale: float = 1.0) -> Any:
    """The same, accepted by the hospital and looked at by the device."""
    offered(runs(field, attempt_now), scale=scale)
    field.accept(RUNNING, IN_SHADOW)
    assert attempt_now() == DONE
    assert named(field) is not None
    return field


def named(field: Any) -> ShadowRun | None:
    """What may run in shadow now."""
    return read_shadow(field.layout)


def state_of(field: Any) -> Any:
    journal = field.journal()
    try:
        return journal.state()
    finally:
        journal.close()


def counts_of(field: Any) -> Any:
    """The counters as they lie on the disk."""
    path = field.layout.shadow_counts
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def status(field: Any) -> Any:
    return json.loads(field.agent("status", "--json").stdout)


def case(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=FEATURES).astype("<f4")


def question(seed: int) -> dict[str, str]:
    return {"x": base64.b64encode(case(seed).tobytes()).decode()}
