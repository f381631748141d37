"""Does the release fit this device, this place, and what is known before the first patient?

The rules of :data:`STANDING` go on to bear on what runs: a device that was moved, or whose
context says something else now, is judged anew.
"""

from __future__ import annotations

from primum_verifier.core.eligibility import Hardware, Population
from primum_verifier.core.manifest import precedence, software_faults
from primum_verifier.core.notice import Restriction
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import (
    ALL_PHASES,
    CONTEXT,
    GRANTING,
    STATEMENT,
    Case,
    Finding,
    Rule,
    either,
    rule,
    told,
)
from primum_verifier.core.share import share_of
from primum_verifier.core.standing_notices import restrictions
from primum_verifier.core.vocabulary import Enforcement, Phase


def _one_of(found: object, listed: tuple[object, ...] | None) -> Finding | str:
    """Whether a fact of the context is among those listed; a fact that is not there is not."""
    if listed is None:
        return "not restricted"
    return Finding(found in listed, str(found or "not known"), either(listed))


@rule(
    "jurisdiction",
    Reason.ELIGIBILITY_JURISDICTION,
    source=CONTEXT,
    clause="MDR 2017/745 Art. 27; 21 CFR 807",
    phases=ALL_PHASES,
)
def jurisdiction_fits(case: Case) -> Finding | str:
    """The device was supplied where the release is eligible; travelling changes nothing."""
    return _one_of(case.context.placement.jurisdiction, case.said.constraints.jurisdictions)


@rule("site", Reason.ELIGIBILITY_SITE, source=CONTEXT, clause="IEC 80001-1", phases=ALL_PHASES)
def site_fits(case: Case) -> Finding:
    """The device stands where the release may be used."""
    sites, place = case.said.constraints.sites, case.context.placement
    found = ", ".join((place.site_id, *place.site_groups))
    expected = "any site" if sites.mode == "all" else f"{sites.mode}: {either(sites.ids)}"
    return Finding(sites.include(place), found, expected)


@rule(
    "care-setting", Reason.ELIGIBILITY_SITE, source=CONTEXT, clause="IEC 62366-1", phases=ALL_PHASES
)
def care_setting_fits(case: Case) -> Finding | str:
    """The care setting is one that it was validated for."""
    return _one_of(case.context.placement.care_setting, case.said.constraints.care_settings)


@rule(
    "use-environment",
    Reason.ELIGIBILITY_SITE,
    source=CONTEXT,
    clause="IEC 62366-1",
    phases=ALL_PHASES,
)
def use_environment_fits(case: Case) -> Finding | str:
    """The environment, where the context says one, is one that it was validated for."""
    found = case.context.placement.use_environment
    if found is None:
        return "the context says none: it stands on the label only"
    return _one_of(found, case.said.constraints.use_environments)


@rule(
    "patient-category",
    Reason.ELIGIBILITY_POPULATION,
    source=CONTEXT,
    clause="MDR 2017/745 Annex I 23.4; ISO 80601",
    phases=ALL_PHASES,
)
def patient_category_fits(case: Case) -> Finding | str:
    """A device with one fixed mode serves patients that the release is for."""
    found = case.context.placement.patient_category
    if found is None:
        return "the device has no fixed mode: the application asks at each episode"
    return _one_of(found, case.said.constraints.patient_categories)


@rule(
    "eligible-devices",
    Reason.ELIGIBILITY_DEVICE,
    source=CONTEXT,
    clause="UDI; FHIR correctiveAction.scope",
    phases=ALL_PHASES,
)
def device_is_meant(case: Case) -> Finding | str:
    """The device is one of the models, lots or serial numbers that are meant."""
    scope, made = case.said.constraints.devices, case.context.factory
    if scope is None:
        return "not restricted"
    found = f"serial number {made.serial_number}"
    return Finding(scope.includes(made), found, f"listed by {scope.scope}")


@rule(
    "restriction",
    Reason.ELIGIBILITY_POPULATION,
    source="safety notices",
    clause="ISO 13485 8.3.3: narrower at once, or as withdrawn",
    phases=ALL_PHASES,
)
def restrictions_are_held(case: Case) -> Finding | str:
    """Every restriction in force is met by this device, or can be held by its application."""
    standing = restrictions(case)
    if not standing:
        return "no restriction in force"
    faults = [fault for item in standing for fault in _faults(item, case)]
    return Finding(not faults, "; ".join(faults) or "met", "every restriction in force met")


def _is_outside(found: object, listed: tuple[object, ...] | None) -> bool:
    """Whether there is a list and it leaves this out."""
    return listed is not None and found not in listed


def _is_asked(population: Population | None) -> bool:
    return population is not None and population.enforce == Enforcement.INFERENCE


def _faults(item: Restriction, case: Case) -> list[str]:
    place, asks = case.context.placement, case.question.asks_per_episode
    category = place.patient_category
    points = {point.id for point in case.said.operating_point.restricted}
    per_episode = _is_asked(item.population) or (
        item.patient_categories is not None and category is None
    )
    outside = {
        f"jurisdiction {place.jurisdiction}": _is_outside(place.jurisdiction, item.jurisdictions),
        f"site {place.site_id}": item.sites is not None and not item.sites.include(place),
        f"care setting {place.care_setting}": _is_outside(place.care_setting, item.care_settings),
        f"patient category {category}": category is not None
        and _is_outside(category, item.patient_categories),
        "the application does not ask at each episode": per_episode and not asks,
        f"operating point {item.operating_point} was never approved": item.operating_point
        not in {None, *points},
    }
    return [fault for fault, stands in outside.items() if stands]


@rule("eligible-hardware", Reason.COMPAT_HARDWARE, source=STATEMENT, clause="IEC 62304 8.1.2-8.1.3")
def eligible_hardware_fits(case: Case) -> Finding:
    """Clinical signed for the hardware that is measured here, its revision and its sensors."""
    listed = case.said.constraints.hardware
    made, measured = case.context.factory, case.question.hardware_id
    fits = any(item.hardware_id == measured and not _lacks(item, case) for item in listed)
    found = f"{measured} revision {made.hardware_revision}, firmware {made.boot_firmware}"
    return Finding(
        fits,
        f"{found}, sensors {', '.join(made.sensors) or 'not known'}",
        either(f"{item.hardware_id} {_asked(item)}".strip() for item in listed),
    )


def _lacks(wanted: Hardware, case: Case) -> bool:
    made = case.context.factory
    return (
        _is_outside(made.hardware_revision, wanted.revisions)
        or _is_outside(made.boot_firmware, wanted.boot_firmware)
        or not set(wanted.sensors or ()) <= set(made.sensors)
    )


def _asked(wanted: Hardware) -> str:
    asked = {
        "revision": wanted.revisions,
        "firmware": wanted.boot_firmware,
        "sensors": wanted.sensors,
    }
    return ", ".join(f"{what} {'/'.join(words)}" for what, words in asked.items() if words)


@rule("eligible-software", Reason.COMPAT_SOFTWARE, source=STATEMENT, clause="IEC 62304 5.3.4")
def eligible_software_fits(case: Case) -> Finding | str:
    """What clinical asks of the other software, the system and the agent is so here."""
    wanted, question = case.said.constraints.software, case.question
    if wanted is None:
        return "not restricted"
    faults = [software_faults(wanted.requires, wanted.conflicts, question.installed)]
    systems = wanted.operating_systems
    if systems is not None and question.operating_system not in systems:
        faults.append(f"operating system {question.operating_system or 'not known'}")
    agent, least = question.agent_version, wanted.agent_min
    if least is not None and precedence(agent) < precedence(least):
        faults.append(f"agent {agent}, asked for {least}")
    told_faults = "; ".join(filter(None, faults))
    return Finding(not told_faults, told_faults or "all there", "as clinical signed")


@rule(
    "inputs", Reason.COMPAT_CONTRACT, source=STATEMENT, clause="FDA draft: model input; PCCP VI.C"
)
def inputs_are_measured(case: Case) -> Finding | str:
    """Each input comes from a sensor that it was validated with."""
    wanted = [item for item in case.said.constraints.inputs if item.acquisition_devices]
    if not wanted:
        return "no sensor is asked for"
    sensors = set(case.context.factory.sensors)
    missing = [
        item.channel for item in wanted if sensors.isdisjoint(item.acquisition_devices or ())
    ]
    return Finding(
        not missing,
        f"no such sensor for {', '.join(missing)}" if missing else ", ".join(sorted(sensors)),
        "; ".join(f"{item.channel}: {either(item.acquisition_devices or ())}" for item in wanted),
    )


@rule(
    "product",
    Reason.ELIGIBILITY_DEVICE,
    source=STATEMENT,
    clause="21 CFR 830.50; MDR 2017/745 Annex VI C 6.5",
)
def product_is_this_one(case: Case) -> Finding | str:
    """The device is this product, and will show the UDI that clinical signed."""
    product, made = case.said.product, case.context.factory
    if product is None:
        return "the statement names no product"
    shown, asked = case.manifest.labelling.udi_di, product.udi_after_activation
    faults = [] if made.udi_di in product.udi_di else [f"UDI-DI {made.udi_di}"]
    if made.model_number not in product.model_numbers:
        faults.append(f"model {made.model_number or 'not known'}")
    if asked is not None and shown != asked:
        faults.append(f"would show UDI-DI {shown}")
    expected = f"model {either(product.model_numbers)}, UDI-DI {either(product.udi_di)}"
    return Finding(not faults, "; ".join(faults) or f"model {made.model_number}", expected)


@rule(
    "authorisation",
    Reason.ELIGIBILITY_AUTHORISATION,
    source=STATEMENT,
    clause="MDR 2017/745 Art. 5; 21 CFR 807",
    phases=GRANTING,
)
def it_is_authorised(case: Case) -> Finding | str:
    """An authorisation of the device's country has not ended; its end stops nothing that runs."""
    listed, country, now = (
        case.said.authorisations,
        case.context.placement.jurisdiction,
        case.latest,
    )
    if not listed:
        return "the statement names none"
    here = [item for item in listed if item.jurisdiction == country]
    valid = [
        item
        for item in here
        if item.valid_until is None or (now is not None and now < item.valid_until)
    ]
    found = ", ".join(item.identifier for item in here) or f"none in {country}"
    return Finding(bool(valid), found, f"one in {country} that has not ended at {told(now)}")


@rule(
    "market",
    Reason.ELIGIBILITY_NOT_YET_VALID,
    source=STATEMENT,
    clause="FHIR marketDistribution",
    phases=GRANTING,
)
def market_is_open(case: Case) -> Finding | str:
    """Devices may be given it now; the market's end stops nothing that runs."""
    market, now = case.said.constraints.market, case.latest
    if market is None:
        return "not restricted"
    expected = f"from {told(market.start)}" + (f" until {told(market.end)}" if market.end else "")
    if now is None:
        return Finding(None, "time unknown", expected, reason=Reason.TRUST_TIME_UNKNOWN)
    ended = market.end is not None and now >= market.end
    reason = Reason.ELIGIBILITY_EXPIRED if ended else None
    return Finding(case.is_within(market.start, market.end), told(now), expected, reason=reason)


@rule(
    "study",
    Reason.ELIGIBILITY_SITE,
    source=STATEMENT,
    clause="21 CFR 812; MDR 2017/745 Art. 62",
    phases=ALL_PHASES,
)
def it_is_enrolled(case: Case) -> Finding | str:
    """The device, or its site, is enrolled in the study, and the study has not ended."""
    study, context = case.said.study, case.context
    if study is None:
        return "clinical use, no study"
    now = case.question.proven if case.question.phase == Phase.CONTINUE else case.latest
    enrolled = (
        context.factory.device_id in study.devices or context.placement.site_id in study.sites
    )
    if now is None:
        return Finding(None, "time unknown", told(study.until), reason=Reason.TRUST_TIME_UNKNOWN)
    reason = Reason.ELIGIBILITY_EXPIRED if enrolled else None
    found = f"{'enrolled' if enrolled else 'not enrolled'} in {study.protocol_id} at {told(now)}"
    return Finding(
        enrolled and now < study.until, found, f"enrolled, until {told(study.until)}", reason
    )


@rule(
    "exposure",
    Reason.ELIGIBILITY_EXPOSURE,
    source=STATEMENT,
    clause="PCCP A 4.b; ISO 14971 10.2",
    phases=GRANTING,
)
def it_is_within_the_exposure(case: Case) -> Finding:
    """The device's own draw lies inside the ceiling that clinical set, whatever a plan says."""
    most = case.said.exposure.max_percentage
    share = share_of(case.question.release, case.context.factory.device_id)
    return Finding(share < most, f"this device's share is {share:.1f}", f"below {most}")


@rule(
    "asks-per-episode",
    Reason.ELIGIBILITY_POPULATION,
    source=STATEMENT,
    clause="MDR 2017/745 Annex I 17, 23.4",
)
def application_asks(case: Case) -> Finding | str:
    """What can be held at each episode only is held by an application that asks."""
    said, place = case.said, case.context.placement
    population = said.constraints.population
    open_ended = {
        "population": _is_asked(population),
        "patient categories": said.constraints.patient_categories is not None
        and place.patient_category is None,
        "inputs": bool(said.constraints.inputs),
        "conditions": any(item.enforce == Enforcement.INFERENCE for item in case.conditions),
    }
    wanted = [what for what, stands in open_ended.items() if stands]
    if not wanted:
        return "nothing is left to the episode"
    asks = case.question.asks_per_episode
    return Finding(asks, "it asks" if asks else "it does not ask", f"asks for {', '.join(wanted)}")


@rule(
    "conditions",
    Reason.ELIGIBILITY_CONDITION,
    source=STATEMENT,
    clause="eligible with conditions",
    phases=GRANTING,
)
def conditions_are_met(case: Case) -> Finding | str:
    """Each condition that the device can hold at activation was found to be met."""
    wanted = [item for item in case.conditions if item.enforce == Enforcement.ACTIVATION]
    if not wanted:
        return "no condition at activation"
    missing = [item.text for item in wanted if item.code not in case.question.conditions_met]
    return Finding(
        not missing,
        f"not met: {'; '.join(missing)}" if missing else "met",
        "; ".join(item.text for item in wanted),
    )


STANDING: tuple[Rule, ...] = (
    jurisdiction_fits,
    site_fits,
    care_setting_fits,
    use_environment_fits,
    patient_category_fits,
    device_is_meant,
    restrictions_are_held,
    it_is_enrolled,
)
"""The rules about place and device that bear on what runs, too."""

PLACE: tuple[Rule, ...] = (
    *STANDING,
    eligible_hardware_fits,
    eligible_software_fits,
    inputs_are_measured,
    product_is_this_one,
    it_is_authorised,
    market_is_open,
    it_is_within_the_exposure,
    application_asks,
    conditions_are_met,
)
"""Every rule about place and device, in the order in which a refusal is explained."""
