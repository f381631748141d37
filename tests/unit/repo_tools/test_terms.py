"""Every part of a statement that a device reads can be written, and is shown to who signs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primum_repo_tools.summary import in_words
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.eligibility import Constraints, Eligibility

COMPONENT = "pvc-classifier"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

HEAD = """\
schema_version = "0.1"
stage = "production"
decision = "eligible-with-conditions"
mode = "clinical"
automation = "manual-update"
change_tier = "moderate"
jurisdictions = ["DE", "US"]
sites = { mode = "group", ids = ["cardio-net"] }
max_percentage = 100
min_soak_hours = 72
required_by = 2027-01-01T00:00:00Z
review_by = 2026-12-01T00:00:00Z
valid_days = 365
max_index_age_hours = 720
offline_grace_hours = 72
care_settings = ["home", "ward"]
use_environments = ["indoor"]
patient_categories = ["adult"]
restricted_operating_points = [{ id = "fewer-alarms", threshold = "0.7" }]
"""
TABLES = """
[[hardware]]
hardware_id = "cardiowear-2"
revisions = ["2", "3"]
boot_firmware = ["4.1"]
sensors = ["ads1292r"]

[intended_use]
file = "intended-use.txt"
significance = "inform"
decision_role = "decision-support"
situation = "serious"
language = "en"
indications = [{ system = "http://snomed.info/sct", code = "17338001", display = "VPB" }]

[on_expiry]
action = "continue-with-notice"
hazard_ref = "HAZ-07"

[on_withdrawal]
action = "fall-back"
hazard_ref = "HAZ-03"
running_episode = "next-safe-point"

[fail_safe]
mode = "ai-function-off"
user_notice = "Beat classification is off."
hazard_ref = "HAZ-01"

[market]
start = 2026-01-01T00:00:00Z
end = 2027-06-01T00:00:00Z

[software]
agent_min = "0.1.0"
operating_systems = ["linux-6"]
requires = [{ component = "ecg-driver", least = "1.2.0" }]
conflicts = [{ component = "old-driver" }]

[devices]
scope = "serial-numbers"
ranges = [{ prefix = "SN-", first = 1, last = 500 }]

[population]
enforce = "inference"
age_years_min = 18
exclude = [{ system = "http://snomed.info/sct", code = "441509002", display = "Pacemaker" }]

[[inputs]]
channel = "ecg"
code = "MDC_ECG_LEAD_I"
unit = "mV"
rate_hz = "250"
acquisition_devices = ["ads1292r"]

[[user_roles]]
system = "http://snomed.info/sct"
code = "17561000"
display = "Cardiologist"

[product]
manufacturer = "Demo"
device_name = "Cardiowear"
model_numbers = ["CW-2"]
udi_di = ["04012345678901"]
udi_after_activation = "04012345678901"

[[authorisations]]
jurisdiction = "DE"
route = "ce-mdr"
identifier = "CE 0123"
valid_until = 2028-01-01T00:00:00Z

[[conditions]]
code = "reader-present"
text = "A cardiologist reads every strip."
enforce = "labelling"

[labelling]
acknowledgement_required = true
[labelling.user_notice]
en = "Version 1 classifies single beats."
de = "Version 1 klassifiziert einzelne Schläge."

[[ladder]]
rung = "retrospective"
protocol = "protocol.pdf"
report = "report.pdf"
result = "met"

[open_issues]
critical = 0
major = 1
minor = 4

[risk]
file_ref = "RMF-12"
residual_risk = "acceptable"
safety_class = "B"

[[rollback_criteria]]
metric = "alarms-per-patient-day"
comparator = "above"
value = "12"
window_hours = 24
action = "fall-back"
"""

STUDY = """
[study]
protocol_id = "P-1"
approval_ref = "EC-1"
until = 2027-01-01T00:00:00Z
devices = ["wearable-001"]
"""


@pytest.fixture
def complete(story: Any) -> Any:
    """A release that carries thresholds, instructions and a monitoring specification."""
    plan = story.plan("1.0.0")
    folder = plan.parent
    files = {
        "thresholds": ("thresholds.json", b'{"p": "0.5"}\n'),
        "instructions": ("ifu.md", b"Read before use.\n"),
        "monitoring": ("monitoring.json", monitoring(COMPONENT)),
    }
    lines = [f'{name} = "{file}"\n' for name, (file, _) in files.items()]
    plan.write_text(plan.read_text().replace("[files]\n", "[files]\n" + "".join(lines)))
    for file, data in files.values():
        (folder / file).write_bytes(data)
    story.run("release", "build", story.engineering, plan)
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    (story.folder / "protocol.pdf").write_bytes(b"protocol")
    (story.folder / "report.pdf").write_bytes(b"report")
    return story


def monitoring(component: str) -> bytes:
    content = json.loads((EXAMPLES / "monitoring-specification.json").read_text())
    return json.dumps({**content, "component": component}).encode()


def predicate(story: Any) -> Any:
    path = story.clinical / f"statements/{COMPONENT}/1.0.0/statement.json"
    return json.loads(path.read_text())["predicate"]


def test_every_part_that_a_device_enforces_can_be_written(complete: Any) -> None:
    answer = complete.prepare("1.0.0", terms_text=HEAD + TABLES)
    assert answer.code == 0, answer.err
    said = predicate(complete)
    assert said["constraints"]["sites"] == {"mode": "group", "ids": ["cardio-net"]}
    assert said["constraints"]["hardware"][0]["sensors"] == ["ads1292r"]
    assert (said["changeTier"], said["use"]["automation"]) == ("moderate", "manual-update")
    assert said["exposure"]["requiredBy"] == "2027-01-01T00:00:00Z"
    assert set(said["constraints"]) == {field.alias for field in Constraints.model_fields.values()}
    # A study stands in other decisions, baselines in a changed release, the rest in every one.
    left_out = {"crit", "study", "baselines", "evidence", "answers", "supersedes"}
    assert set(said) >= {field.alias for field in Eligibility.model_fields.values()} - left_out


def test_a_digest_is_found_and_never_typed(complete: Any) -> None:
    complete.prepare("1.0.0", terms_text=HEAD + TABLES)
    said = predicate(complete)
    manifest = json.loads(
        (complete.engineering / f"releases/{COMPONENT}/1.0.0/manifest.json").read_text()
    )
    items = {item["kind"]: item["digest"] for item in manifest["items"]}
    assert said["selfTest"] == items["self-test-specification"]
    assert said["monitoringSpecification"] == items["monitoring-specification"]
    assert said["operatingPoint"]["thresholdSet"] == items["threshold-set"]
    assert said["labelling"]["ifu"] == items["ifu"]
    assert said["ladder"][0]["report"] == {"sha256": sha256_hex(b"report")}
    typed = TABLES.replace("acknowledgement_required", 'ifu = "0"\nacknowledgement_required')
    assert complete.prepare("1.0.0", terms_text=HEAD + typed).code == 2


def test_nothing_that_restricts_is_signed_unseen(complete: Any) -> None:
    """A part that the page had no row for would be approved by people who never saw it."""
    complete.prepare("1.0.0", terms_text=HEAD + TABLES)
    shown = complete.run(
        "approve", "sign", complete.clinical, COMPONENT, "1.0.0",
        "--as", complete.folder / "people/a.berg", "--dry-run",
    ).out.split("{")[0]  # fmt: skip
    said = predicate(complete)
    for name in [*said["constraints"], *said["validity"], *said["exposure"]]:
        assert in_words(name) in shown
    words = (
        "cardio-net", "boot firmware 4.1", "ecg-driver", "prefix SN-", "age years min 18",
        "Pacemaker", "MDC_ECG_LEAD_I", "Cardiologist", "CW-2", "CE 0123", "reader-present",
        "klassifiziert", "acknowledgement required yes", "retrospective", "major 1", "RMF-12",
        "alarms-per-patient-day", "fewer-alarms", "manual-update", "next-safe-point", "moderate",
    )  # fmt: skip
    assert not [word for word in words if word not in shown]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('code = "reader-present"', 'kode = "reader-present"', "kode"),
        ("first = 1, last = 500", "first = 500, last = 1", "first is above last"),
        ('jurisdiction = "DE"', 'jurisdiction = "EU"', "a group of countries"),
        ("2026-01-01T00:00:00Z", "2026-01-01", "no time as RFC 3339"),
        ('mode = "clinical"', 'mode = "shadow"', "goes with mode clinical"),
        ('change_tier = "moderate"', 'change_tier = "none-clinical"', "or higher"),
        ('report = "report.pdf"', 'report = "none.pdf"', "report of the rung retrospective"),
        ('sites = { mode = "group", ids = ["cardio-net"] }', "sites = []", "sites"),
        ('hardware_id = "cardiowear-2"', 'hardware_id = "cardiowear-9"', "hardware"),
        ("[[conditions]]", "[[user_roles_of_old]]", "user_roles_of_old"),
        ("[on_withdrawal]", STUDY + "[on_withdrawal]", "a study stands with"),
    ],
)  # fmt: skip
def test_what_is_written_wrongly_is_named(complete: Any, old: str, new: str, told: str) -> None:
    text = HEAD + TABLES
    assert old in text
    answer = complete.prepare("1.0.0", terms_text=text.replace(old, new, 1))
    assert answer.code in {1, 2}
    assert told in answer.err
    assert "Traceback" not in answer.err
    assert not (complete.clinical / "statements" / COMPONENT / "1.0.0").exists()


def test_labelling_without_instructions_in_the_release_is_refused(story: Any) -> None:
    story.publish_first()
    for name in ("protocol.pdf", "report.pdf"):
        (story.folder / name).write_bytes(b"x")
    answer = story.prepare("1.0.0", terms_text=HEAD + TABLES)
    assert "carries no instructions for use" in answer.err
    assert answer.code == 2


FOR_SHADOW = """
[study]
protocol_id = "STUDY-7"
approval_ref = "EC-1"
until = 2027-01-01T00:00:00Z
devices = ["wearable-001"]
"""


def shadow_terms() -> str:
    """The same terms for shadow use only."""
    text = (HEAD + TABLES).replace(
        'decision = "eligible-with-conditions"', 'decision = "shadow-only"'
    )
    text = text.replace('mode = "clinical"', 'mode = "shadow"', 1)
    return text + FOR_SHADOW


def test_a_release_for_shadow_only_is_signed_where_its_bins_are(complete: Any) -> None:
    answer = complete.prepare("1.0.0", terms_text=shadow_terms())
    assert answer.code == 0, answer.err
    said = predicate(complete)
    assert (said["decision"], said["use"]["mode"]) == ("shadow-only", "shadow")
    assert said["study"]["devices"] == ["wearable-001"]


FIRST = """
[shadow_first]
min_hours = 72
min_comparisons = 1000
max_flip_share = "0.01"
"""


def test_a_time_in_shadow_first_is_shown_and_signed(complete: Any) -> None:
    answer = complete.prepare("1.0.0", terms_text=HEAD + TABLES + FIRST)
    assert answer.code == 0, answer.err
    said = predicate(complete)
    assert said["use"]["mode"] == "clinical"
    assert said["use"]["shadowFirst"] == {
        "minHours": 72, "minComparisons": 1000, "maxFlipShare": "0.01",
    }  # fmt: skip
    shown = complete.run(
        "approve", "sign", complete.clinical, COMPONENT, "1.0.0",
        "--as", complete.folder / "people/a.berg", "--dry-run",
    ).out.split("{")[0]  # fmt: skip
    assert "shadow first min hours 72, min comparisons 1000, max flip share 0.01" in shown


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("min_hours = 72", "min_hours = 23"),
        ("min_comparisons = 1000", "min_comparisons = 0"),
        ('max_flip_share = "0.01"', 'max_flip_share = "1.5"'),
        ('max_flip_share = "0.01"', 'max_flip_shares = "0.01"'),
    ],
)
def test_a_time_in_shadow_that_could_not_be_judged_is_not_prepared(
    complete: Any, old: str, new: str
) -> None:
    answer = complete.prepare("1.0.0", terms_text=HEAD + TABLES + FIRST.replace(old, new))
    assert answer.code == 2
    assert "shadow_first" in answer.err or "shadowFirst" in answer.err


def test_what_is_for_shadow_only_has_no_time_after_it(complete: Any) -> None:
    answer = complete.prepare("1.0.0", terms_text=shadow_terms() + FIRST)
    assert answer.code in {1, 2}
    assert "never used after it" in answer.err


def test_a_release_that_no_device_could_count_is_not_approved_for_shadow(story: Any) -> None:
    story.publish_first()
    for name in ("protocol.pdf", "report.pdf"):
        (story.folder / name).write_bytes(b"x")
    for text in (shadow_terms(), HEAD + TABLES + FIRST):
        answer = story.prepare("1.0.0", terms_text=text)
        assert answer.code == 2
        assert "cannot be counted in shadow" in answer.err
        assert "no monitoring specification" in answer.err


def test_a_release_that_decides_nothing_cannot_be_made_eligible(story: Any) -> None:
    """Danger: people approve a use without the operating point that they approve it at."""
    plan = story.plan("1.0.0")
    text = plan.read_text()
    head, _, rest = text.partition("[self_test.operating_point]")
    tests = rest[rest.index("[[self_test.tests]]") : rest.rindex("[[self_test.tests]]")]
    plan.write_text((head + tests).replace("min_tests = 2", "min_tests = 1"))
    story.run("release", "build", story.engineering, plan)
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    answer = story.prepare("1.0.0")
    assert answer.code == 2
    assert "states no operating point" in answer.err


def test_a_monitoring_specification_of_another_component_is_not_built(story: Any) -> None:
    plan = story.plan("1.0.0")
    plan.write_text(plan.read_text().replace("[files]\n", '[files]\nmonitoring = "m.json"\n'))
    (plan.parent / "m.json").write_bytes(monitoring("another"))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "another component" in answer.err
