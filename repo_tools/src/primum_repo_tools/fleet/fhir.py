"""Devices as FHIR R5 resources: what a clinic's list of its assets takes, written on demand.

One ``Device`` for each device of the fleet: identifiers, UDI, model, status, and a version for the
agent, the release in use, each of its components, and by digest each of its signed files.  What a
device says of itself, and what was signed of it where its context is given, are the only sources;
in neither stands a patient.

The form is HL7 FHIR 5.0.0 (https://hl7.org/fhir/R5/device.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from primum_verifier.core.document import sha256_hex

SYSTEM = "urn:primum:fhir"
"""Below it lie the names of our own: there is no public code for them."""

GS1 = "http://hl7.org/fhir/NamingSystem/gs1-di"
_GTIN = re.compile(r"[0-9]{8,14}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


def bundle(
    devices: Sequence[Mapping[str, Any]],
    *,
    fleet: str,
    facts: Mapping[str, Mapping[str, Any]],
    at: str,
) -> dict[str, Any]:
    """A collection of one ``Device`` for each.

    Args:
        devices: as :func:`primum_repo_tools.fleet.views.inventory` tells them.
        fleet: the fleet.
        facts: for each device whose signed context was given, its factory facts.
        at: the moment, RFC 3339.
    """
    entries = [
        {
            "fullUrl": f"urn:primum:device:{told['device']}",
            "resource": device(told, fleet=fleet, facts=facts.get(told["device"], {})),
        }
        for told in devices
    ]
    found = {"resourceType": "Bundle", "type": "collection", "timestamp": at, "entry": entries}
    # An empty list is no value in FHIR.
    return {name: value for name, value in found.items() if value != []}


def device(told: Mapping[str, Any], *, fleet: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """One device; what is not known is left out."""
    name = told["device"]
    found: dict[str, Any] = {
        "resourceType": "Device",
        "id": name if _ID.fullmatch(name) else sha256_hex(name.encode()),
        "identifier": [{"system": f"{SYSTEM}:fleet:{fleet}", "value": name}],
        "displayName": name,
        "udiCarrier": list(_udi(facts)),
        "status": "inactive" if told["decommissioned"] else "active",
        "lotNumber": facts.get("lotNumber"),
        "serialNumber": facts.get("serialNumber"),
        "name": [
            {"value": facts["hardwareId"], "type": "registered-name"}
            for _ in range("hardwareId" in facts)
        ],
        "modelNumber": facts.get("modelNumber"),
        "version": list(_versions(told, facts)),
        "property": list(_properties(told)),
        "mode": None if told["mode"] is None else {"text": told["mode"]},
    }
    return {member: value for member, value in found.items() if value not in (None, [])}


def _udi(facts: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    if "udiDi" in facts:
        issuer = GS1 if _GTIN.fullmatch(facts["udiDi"]) else f"{SYSTEM}:udi"
        yield {"deviceIdentifier": facts["udiDi"], "issuer": issuer}


def _versions(told: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    health = told["health"]
    yield from _version("software", "primum-agent", told["agentVersion"])
    yield from _version("software", told["component"], told["version"])
    for name, version in sorted(health.get("components", {}).items()):
        yield from _version("software", name, version)
    for item in health.get("items", ()):
        yield from _version("sha256 of a signed file", item["id"], item["sha256"])
    yield from _version("hardware", facts.get("hardwareId"), facts.get("hardwareRevision"))
    yield from _version("firmware", "boot", facts.get("bootFirmware"))


def _version(kind: str, component: str | None, value: str | None) -> Iterator[dict[str, Any]]:
    if component is not None and value is not None:
        named = {"system": f"{SYSTEM}:component", "value": component}
        yield {"type": {"text": kind}, "component": named, "value": value}


def _properties(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was in use is the device's word; how far its chain proves it stands beside."""
    eligibility = told["health"].get("eligibility") or {}
    for name, value in (
        ("release sha256", told["release"]),
        ("eligibility statement number", told["statementNumber"]),
        ("eligibility statement sha256", eligibility.get("sha256")),
        ("said at", told["saidAt"]),
        ("last seen", told["lastSeen"]),
        ("presence", told["presence"]),
        ("events proven to", told["provenTo"]),
        ("alarms", len(told["alarms"])),
    ):
        if value is not None:
            kind = "valueInteger" if isinstance(value, int) else "valueString"
            yield {"type": {"text": name}, kind: value}
