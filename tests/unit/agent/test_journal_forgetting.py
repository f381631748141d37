"""What a reset forgets is not in the file any more; what guards against old releases is."""

from __future__ import annotations

import pytest

from primum_agent.events import Entry, EventKind
from primum_agent.floors import read_floors
from primum_agent.journal import Journal
from primum_agent.layout import Layout

PATIENT = "Erika Mustermann"
KEPT = [
    "context-floor",
    "trust-map-floor",
    "trust-map",
    "plan-number",
    "issued-engineering",
    "issued-clinical",
    "list-issued",
    "powered-total",
    "powered-boot",
    "powered-mark",
    "boot",
    "boots",
    "seen-holds",
    "equivocations-told",
    "suspended",
]


@pytest.fixture
def full(journal: Journal) -> Journal:
    """A journal that names a patient on many pages, in a database that overwrites nothing."""
    journal._connection.execute("PRAGMA secure_delete = OFF")
    for number in range(300):
        journal.record(Entry(kind=EventKind.UPDATE_AGREED, detail={"by": f"{PATIENT} {number}"}))
        journal.keep_verdict(release=f"{number:064x}", name=PATIENT, verdict={"text": PATIENT * 9})
    journal.set_counters(**{name.replace("-", "_"): "7" for name in KEPT})
    journal.set_counters(consent=PATIENT, key_proofs="[]", something_new=PATIENT)
    journal.note_problem(topic="a", what="b", text=PATIENT)
    journal.replace_trust("clinical", [("floors", "", b'{"floors": {}, "referenceTime": null}')])
    return journal


def test_what_is_forgotten_lies_on_no_page_and_in_no_log(full: Journal, layout: Layout) -> None:
    full.forget_everything()
    for path in layout.root.glob("journal.db*"):
        assert PATIENT.encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize("name", KEPT)
def test_each_guard_is_kept(full: Journal, name: str) -> None:
    full.forget_everything()
    assert full.counter(name, "gone") == "7"
    assert full.trust_rows("clinical")


def test_whatever_is_no_guard_goes(full: Journal) -> None:
    """A later agent may store something that names a patient: it goes without being listed."""
    full.forget_everything()
    for name in ("consent", "key-proofs", "something-new"):
        assert full.counter(name, "gone") == "gone"
    assert full.verdicts() == []
    assert full.problems() == []
    assert full.last_sequence() == 0


def test_what_comes_next_begins_above_every_number(full: Journal, layout: Layout) -> None:
    last = full.last_sequence()
    full.forget_everything()
    full.begin(aside=None, damage="", salvage=dict)
    floors = read_floors(layout.floors)
    assert floors is not None
    assert last < full.last_sequence() <= floors.first_unused
    full.check(whole=True)
