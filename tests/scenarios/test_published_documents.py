"""What crosses the wire in the whole story is what the published documents say."""

from __future__ import annotations

import json
from typing import Any

from primum_verifier.record.event import parse_event


def test_every_event_of_the_story_fits_the_published_document(told: Any) -> None:
    """Two devices, several releases, a withdrawal: each received line is an event or a head."""
    for folder in sorted(told.folder.glob("wearable-*")):
        lines = (folder / "received.jsonl").read_bytes().splitlines()
        events = [line for line in lines if b'"specversion"' in line]
        heads = [line for line in lines if "payloadType" in json.loads(line)]
        assert events
        assert len(events) + len(heads) == len(lines)
        for line in events:
            event = parse_event(line, where=folder.name)
            assert event.device_id == folder.name
