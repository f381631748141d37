"""The bounds of place, device and use: inside, one step beyond, and the reason."""

from __future__ import annotations

from tests.unit.verifier.bending import (
    Bend,
    Row,
    accepted,
    both,
    constraint,
    facts,
    made,
    placed,
    statement,
)

from primum_verifier.core.reasons import Reason


def hardware(**asked_for: object) -> Bend:
    return constraint(hardware=[{"hardwareId": "cardiowear-2", **asked_for}])


def software(**asked_for: object) -> Bend:
    return constraint(software=asked_for)


def devices(scope: str, *values: str, ranges: list[dict[str, object]] | None = None) -> Bend:
    return constraint(devices={"scope": scope, "values": list(values), "ranges": ranges or []})


def serial(number: str) -> Bend:
    ranges: list[dict[str, object]] = [{"prefix": "SN", "first": 10, "last": 19}]
    return both(made(serialNumber=number), devices("serial-numbers", ranges=ranges))


def population(enforce: str) -> dict[str, object]:
    return {"enforce": enforce, "ageYearsMin": 18}


def ecg(*sensors: str) -> Bend:
    channel = {"channel": "ecg", "code": "131328", "unit": "mV", "rateHz": "360"}
    return constraint(inputs=[{**channel, **({"acquisitionDevices": sensors} if sensors else {})}])


def condition(code: str, enforce: str) -> Bend:
    return statement(conditions=[{"code": code, "text": "On mains power.", "enforce": enforce}])


def product(**changes: object) -> Bend:
    named = {"manufacturer": "Primum", "deviceName": "Wearable", "modelNumbers": ["M1"]}
    asked_for = statement(product={**named, "udiDi": ["01234"], **changes})
    return both(made(modelNumber="M1"), asked_for)


CARD = {"component": "card", "least": "1.0.0", "most": "1.9.9"}
REQUIRES = software(requires=[CARD])
CONFLICTS = software(conflicts=[CARD])

BOUNDS: dict[str, Row] = {
    "jurisdiction": (
        placed(jurisdiction="FR"),
        placed(jurisdiction="CH"),
        Reason.ELIGIBILITY_JURISDICTION,
    ),
    "site-list": (
        placed(siteId="ward-7"),
        placed(siteId="ward-70"),
        Reason.ELIGIBILITY_SITE,
    ),
    "site-group": (
        both(constraint(sites={"mode": "group", "ids": ["pilot"]}), placed(siteGroups=["pilot"])),
        both(constraint(sites={"mode": "group", "ids": ["ward-7"]}), placed(siteGroups=["pilot"])),
        Reason.ELIGIBILITY_SITE,
    ),
    "site-all-or-a-list": (
        both(constraint(sites={"mode": "all", "ids": []}), placed(siteId="elsewhere")),
        placed(siteId="elsewhere", siteGroups=["ward-7"]),
        Reason.ELIGIBILITY_SITE,
    ),
    "care-setting": (
        constraint(careSettings=["icu", "home"]),
        constraint(careSettings=["icu"]),
        Reason.ELIGIBILITY_SITE,
    ),
    "use-environment": (
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="indoors")),
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="ambulance")),
        Reason.ELIGIBILITY_SITE,
    ),
    "use-environment-not-in-the-context-is-left-to-the-label": (
        constraint(useEnvironments=["indoors"]),
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="outdoors")),
        Reason.ELIGIBILITY_SITE,
    ),
    "patient-category-of-a-device-with-one-mode": (
        both(constraint(patientCategories=["adult"]), placed(patientCategory="adult")),
        both(constraint(patientCategories=["adult"]), placed(patientCategory="neonatal")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "patient-category-asked-at-each-episode": (
        both(constraint(patientCategories=["adult"]), facts(asks_per_episode=True)),
        constraint(patientCategories=["adult"]),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "population-asked-at-each-episode": (
        both(constraint(population=population("inference")), facts(asks_per_episode=True)),
        constraint(population=population("inference")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "population-on-the-label-asks-nothing": (
        constraint(population=population("labelling")),
        constraint(population=population("inference")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "condition-asked-at-each-episode": (
        both(condition("on-mains", "inference"), facts(asks_per_episode=True)),
        condition("on-mains", "inference"),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "site-condition-for-activation": (
        both(
            accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
            facts(conditions_met=frozenset({"c"})),
        ),
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "site-condition-that-would-be-asked-at-each-episode": (
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "labelling"}]),
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "inference"}]),
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "input-asked-at-each-episode": (
        both(ecg(), facts(asks_per_episode=True)),
        ecg(),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "input-sensor": (
        both(ecg("afe-1", "afe-2"), made(sensors=["afe-2"]), facts(asks_per_episode=True)),
        both(ecg("afe-1", "afe-2"), made(sensors=["afe-3"]), facts(asks_per_episode=True)),
        Reason.COMPAT_CONTRACT,
    ),
    "input-sensor-not-known": (
        both(ecg(), facts(asks_per_episode=True)),
        both(ecg("afe-1"), facts(asks_per_episode=True)),
        Reason.COMPAT_CONTRACT,
    ),
    "device-model": (
        both(made(modelNumber="M1"), devices("model", "M1", "M2")),
        both(made(modelNumber="M3"), devices("model", "M1", "M2")),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-model-not-known": (
        both(made(modelNumber="M1"), devices("model", "M1")),
        devices("model", "M1"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-lot": (
        both(made(lotNumber="L1"), devices("lot-numbers", "L1")),
        both(made(lotNumber="L2"), devices("lot-numbers", "L1")),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-serial": (
        devices("serial-numbers", "SN1"),
        devices("serial-numbers", "SN2"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-serial-range-first": (serial("SN10"), serial("SN9"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-last": (serial("SN19"), serial("SN20"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-prefix": (serial("SN015"), serial("XN15"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-number": (serial("SN15"), serial("SN15a"), Reason.ELIGIBILITY_DEVICE),
    "hardware-id": (
        constraint(hardware=[{"hardwareId": "other"}, {"hardwareId": "cardiowear-2"}]),
        constraint(hardware=[{"hardwareId": "other"}]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-revision": (
        hardware(revisions=["A", "B"]),
        hardware(revisions=["A"]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-firmware": (
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.1")),
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.2")),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-firmware-not-known": (
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.1")),
        hardware(bootFirmware=["2024.1"]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-sensors-all": (
        both(hardware(sensors=["afe", "ppg"]), made(sensors=["ppg", "afe", "imu"])),
        both(hardware(sensors=["afe", "ppg"]), made(sensors=["afe", "imu"])),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-of-one-entry-not-of-two": (
        constraint(
            hardware=[
                {"hardwareId": "other", "revisions": ["B"]},
                {"hardwareId": "cardiowear-2", "revisions": ["B"]},
            ]
        ),
        constraint(
            hardware=[
                {"hardwareId": "other", "revisions": ["B"]},
                {"hardwareId": "cardiowear-2", "revisions": ["A"]},
            ]
        ),
        Reason.COMPAT_HARDWARE,
    ),
    "software-required-least": (
        both(REQUIRES, facts(installed={"card": "1.0.0"})),
        both(REQUIRES, facts(installed={"card": "1.0.0-rc.1"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-most": (
        both(REQUIRES, facts(installed={"card": "1.9.9"})),
        both(REQUIRES, facts(installed={"card": "1.9.10"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-missing": (
        both(REQUIRES, facts(installed={"card": "1.5.0"})),
        both(REQUIRES, facts(installed={"other": "1.5.0"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-least": (
        both(CONFLICTS, facts(installed={"card": "0.9.9"})),
        both(CONFLICTS, facts(installed={"card": "1.0.0"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-most": (
        both(CONFLICTS, facts(installed={"card": "1.9.10"})),
        both(CONFLICTS, facts(installed={"card": "1.9.9"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-unreadable": (
        both(REQUIRES, facts(installed={"card": "1.2.3"})),
        both(REQUIRES, facts(installed={"card": "spring"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-unreadable": (
        both(CONFLICTS, facts(installed={"other": "spring"})),
        both(CONFLICTS, facts(installed={"card": "spring"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-agent": (
        software(agentMin="0.1.0"),
        software(agentMin="0.1.1"),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-system": (
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 1")),
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 2")),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-system-not-known": (
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 1")),
        software(operatingSystems=["os 1"]),
        Reason.COMPAT_SOFTWARE,
    ),
    "product-model": (product(), product(modelNumbers=["M2"]), Reason.ELIGIBILITY_DEVICE),
    "product-udi": (product(), product(udiDi=["99999"]), Reason.ELIGIBILITY_DEVICE),
    "product-udi-shown-afterwards": (
        product(udiAfterActivation="01234"),
        product(udiAfterActivation="56789"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "condition": (
        both(condition("on-mains", "activation"), facts(conditions_met=frozenset({"on-mains"}))),
        both(condition("on-mains", "activation"), facts(conditions_met=frozenset({"dry"}))),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "condition-on-the-label": (
        condition("on-mains", "labelling"),
        condition("on-mains", "activation"),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "site-condition": (
        both(
            accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
            facts(conditions_met=frozenset({"c"})),
        ),
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
        Reason.ELIGIBILITY_CONDITION,
    ),
}
