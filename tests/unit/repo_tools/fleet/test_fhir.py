"""The list of assets is FHIR R5: held against the specification, member by member."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import NOW, Device
from tests.unit.repo_tools.fleet.receivers import primum_repo

from primum_repo_tools.fleet.fhir import bundle, device
from primum_repo_tools.fleet.views import inventory

STRING, URI, CODE, INTEGER, BOOLEAN = "string", "uri", "code", "integer", "boolean"
CONCEPT: dict[str, Any] = {"text": STRING}
IDENTIFIER: dict[str, Any] = {"system": URI, "value": STRING}
DEVICE: dict[str, Any] = {
    # https://hl7.org/fhir/R5/device.html, the elements that may occur here; ! has to occur, and a
    # list is one that repeats.
    "resourceType!": "Device",
    "id": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
    "identifier": [IDENTIFIER],
    "displayName": STRING,
    "udiCarrier": [{"deviceIdentifier!": STRING, "issuer!": URI}],
    "status": re.compile(r"active|inactive|entered-in-error"),
    "lotNumber": STRING,
    "serialNumber": STRING,
    "name": [
        {
            "value!": STRING,
            "type!": re.compile(r"registered-name|user-friendly-name|patient-reported-name"),
        }
    ],
    "modelNumber": STRING,
    "version": [{"type": CONCEPT, "component": IDENTIFIER, "value!": STRING}],
    "property": [{"type!": CONCEPT, "valueString": STRING, "valueInteger": INTEGER}],
    "mode": CONCEPT,
}
BUNDLE: dict[str, Any] = {
    "resourceType!": "Bundle",
    "type!": re.compile("collection"),
    "timestamp": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z"),
    "entry": [{"fullUrl": URI, "resource": DEVICE}],
}


def faults(value: Any, form: Any, where: str = "") -> list[str]:
    """What of a value is not as the specification has it."""
    if isinstance(form, list):
        if not isinstance(value, list) or not value:
            return [f"{where}: no list, or an empty one"]
        return [fault for item in value for fault in faults(item, form[0], where)]
    if isinstance(form, dict):
        if not isinstance(value, dict) or not value:
            return [f"{where}: no object, or an empty one"]
        known = {name.removesuffix("!"): part for name, part in form.items()}
        missing = {name[:-1] for name in form if name.endswith("!")} - set(value)
        found = [f"{where}.{name}: missing" for name in sorted(missing)]
        found += [f"{where}.{name}: unknown" for name in sorted(set(value) - set(known))]
        for name in set(value) & set(known):
            found += faults(value[name], known[name], f"{where}.{name}")
        return found
    if form == INTEGER:
        is_right = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    elif isinstance(form, re.Pattern):
        is_right = isinstance(value, str) and form.fullmatch(value) is not None
    elif form in {STRING, URI, CODE}:
        # A string of FHIR is not empty; a uri holds no white space.
        is_right = isinstance(value, str) and bool(value.strip())
        is_right = is_right and (form != URI or re.fullmatch(r"\S+:\S+", value) is not None)
    else:
        is_right = value == form
    return [] if is_right else [f"{where}: {value!r}"]


FACTS = {
    "serialNumber": "SN-1",
    "hardwareId": "wearable-a",
    "hardwareRevision": "2",
    "udiDi": "04012345678901",
    "modelNumber": "W-100",
    "lotNumber": "L7",
    "bootFirmware": "1.0.3",
}


def test_a_device_is_told_with_udi_model_and_the_version_of_every_part(fleet: Fleet) -> None:
    one = Device()
    fleet.enroll(one)
    items = [{"id": "model", "kind": "model", "sha256": "e" * 64}]
    statement = {"number": 3, "sha256": "f" * 64, "acceptedAt": None, "ageSeconds": None}
    health = one.health(items=items, components={"firmware": "3.2.0"}, eligibility=statement)
    fleet.take(*one.life(2), health, one.status())
    told = inventory(fleet.store.database, fleet="demo", now=AT)
    found = bundle(told, fleet="demo", facts={one.name: FACTS}, at=NOW)
    assert faults(found, BUNDLE) == []
    resource = found["entry"][0]["resource"]
    assert resource["udiCarrier"] == [
        {"deviceIdentifier": "04012345678901", "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di"}
    ]
    assert (resource["serialNumber"], resource["modelNumber"]) == ("SN-1", "W-100")
    assert (resource["status"], resource["mode"]) == ("active", {"text": "clinical"})
    versions = {item["component"]["value"]: item["value"] for item in resource["version"]}
    assert versions == {
        "primum-agent": "0.1.0",
        "pvc-classifier": "1.0.0",
        "firmware": "3.2.0",
        "model": "e" * 64,
        "wearable-a": "2",
        "boot": "1.0.3",
    }
    properties = {item["type"]["text"]: item for item in resource["property"]}
    assert properties["eligibility statement number"]["valueInteger"] == 3
    assert properties["eligibility statement sha256"]["valueString"] == "f" * 64
    assert properties["events proven to"]["valueInteger"] == 2


def test_of_a_device_that_never_said_anything_nothing_is_invented(fleet: Fleet) -> None:
    fleet.enroll(Device())
    found = bundle(
        inventory(fleet.store.database, fleet="demo", now=AT), fleet="demo", facts={}, at=NOW
    )
    assert faults(found, BUNDLE) == []
    resource = found["entry"][0]["resource"]
    assert set(resource) == {
        "resourceType", "id", "identifier", "displayName", "status", "property",
    }  # fmt: skip


def test_a_device_that_was_decommissioned_is_inactive(fleet: Fleet) -> None:
    one = Device()
    fleet.enroll(one)
    fleet.take(one.event(), one.event("decommission.begun"))
    assert not inventory(fleet.store.database, fleet="demo", now=AT)[0]["decommissioned"]
    fleet.take(one.head())
    (told,) = inventory(fleet.store.database, fleet="demo", now=AT)
    assert device(told, fleet="demo", facts={})["status"] == "inactive"


@pytest.mark.parametrize("name", ["under_score", "x" * 80])
def test_a_name_that_fhir_has_no_id_for_gets_one_of_its_own(fleet: Fleet, name: str) -> None:
    fleet.enroll(Device(name))
    told = inventory(fleet.store.database, fleet="demo", now=AT)
    found = device(told[0], fleet="demo", facts={"udiDi": "+H123PARTNO1234567890120"})
    assert faults(found, DEVICE) == []
    assert found["identifier"][0]["value"] == name
    assert found["udiCarrier"][0]["issuer"] == "urn:primum:fhir:udi"


def test_a_fleet_without_devices_is_a_bundle_too(fleet: Fleet) -> None:
    assert faults(bundle([], fleet="demo", facts={}, at=NOW), BUNDLE) == []
    assert inventory(fleet.store.database, fleet="demo", now=AT) == []


def test_the_command_writes_it_with_what_the_contexts_say(
    fleet: Fleet, in_the_field: Any, tmp_path: Path
) -> None:
    fleet.store.enroll("wearable-001", in_the_field.device_key, now=AT)
    context = in_the_field.provisioning / "device-context.dsse.json"
    out = tmp_path / "devices.json"
    words = ("fhir", out, "--context", context, "--database", fleet.address)
    told = primum_repo(*words, "--dry-run")
    assert (told.returncode, out.exists()) == (0, False)
    told = primum_repo(*words)
    assert told.returncode == 0, told.stderr
    found = json.loads(out.read_bytes())
    assert faults(found, BUNDLE) == []
    assert found["entry"][0]["resource"]["udiCarrier"][0]["deviceIdentifier"]
    told = primum_repo("fhir", out, "--context", out, "--database", fleet.address)
    assert told.returncode == 2
