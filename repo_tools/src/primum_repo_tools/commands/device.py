"""``primum-repo device``: key, provision."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    command,
    new_app,
    pretty,
    secrets_from,
    tell,
)
from primum_verifier.core.vocabulary import PatientCategory, Stage

if TYPE_CHECKING:
    from primum_verifier.core.errors import UsageError

app = new_app("Provisioning: which device this is and where it was supplied.")

_COUNTRY = 2
"""Letters of a country's code (ISO 3166-1 alpha-2)."""


@command(app)
def key(
    station: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the station.")],
    *,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the key of a provisioning station; two stations sign each device.

    Example:
      primum-repo device key station-1
    """
    from primum_repo_tools.devices import STATION_KEY
    from primum_repo_tools.keys import create_key, public_path

    path = station / STATION_KEY
    public = create_key(path, secrets=secrets_from(passphrase_file))
    tell(
        {"key": str(path), "public": str(public_path(path)), "keyId": public.key_id},
        f"Made {path}.",
        f"Name {public_path(path)} with --provisioning-key when both authorities are created.",
        as_json=as_json,
    )


@command(app)
def provision(
    *,
    engineering: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Workbench or web root of engineering.")
    ],
    clinical: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Workbench or web root of clinical.")
    ],
    station: Annotated[
        list[Path], typer.Option("--as", metavar="FOLDER", help="Station that signs; repeat it.")
    ],
    enrolment: Annotated[
        Path, typer.Option(metavar="FILE", help="What primum-agent enroll wrote on the device.")
    ],
    component: Annotated[str, typer.Option(help="Component that the device runs.")],
    jurisdiction: Annotated[str, typer.Option(help="Country of supply, ISO 3166-1 alpha-2.")],
    site: Annotated[str, typer.Option(help="Site where it stands.")],
    care_setting: Annotated[str, typer.Option(help="home, ward, icu, ...")],
    udi: Annotated[str, typer.Option(help="UDI-DI of the device.")],
    engineering_url: Annotated[str, typer.Option(help="Where devices find engineering.")],
    clinical_url: Annotated[str, typer.Option(help="Where devices find clinical.")],
    broker: Annotated[
        list[str],
        typer.Option(metavar="mqtts://HOST[:PORT]", help="MQTT 5 broker; repeat it, in order."),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the device.")],
    hardware_revision: Annotated[str, typer.Option(help="Revision of the hardware.")] = "1",
    model_number: Annotated[str | None, typer.Option(help="Model of the device.")] = None,
    lot_number: Annotated[str | None, typer.Option(help="Lot it was made in.")] = None,
    boot_firmware: Annotated[str | None, typer.Option(help="Version of its boot firmware.")] = None,
    sensor: Annotated[
        list[str] | None, typer.Option(help="A sensor that it has; repeat it.")
    ] = None,
    site_group: Annotated[
        list[str] | None, typer.Option(help="A group that its site belongs to; repeat it.")
    ] = None,
    use_environment: Annotated[
        str | None, typer.Option(help="indoor, ambulance, ...; where it is known.")
    ] = None,
    patient_category: Annotated[
        PatientCategory | None, typer.Option(help="For a device with one fixed mode.")
    ] = None,
    site_root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Responsible organisation that may narrow."),
    ] = None,
    site_url: Annotated[str | None, typer.Option(help="Where devices find it.")] = None,
    offline_allowance_days: Annotated[
        int,
        typer.Option(min=0, max=366, help="For a device that is updated by medium: how stale."),
    ] = 0,
    takes_drills: Annotated[
        bool, typer.Option("--takes-drills", help="It takes part in exercises of notices.")
    ] = False,
    receiver: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public key of a receiver of reports; repeat it."),
    ] = None,
    stage: Annotated[Stage, typer.Option(help="Stage that the device serves.")] = Stage.PRODUCTION,
    broker_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM: whom to believe about brokers; else the system."),
    ] = None,
    number: Annotated[int, typer.Option(help="Number of the context; higher when it moves.")] = 1,
    life: Annotated[str, typer.Option(help="How long the context counts.")] = "730d",
    fleet: Annotated[str, typer.Option(help="Fleet that it reports to.")] = "demo",
    poll_seconds: Annotated[
        int, typer.Option(min=1, max=604_800, help="How often it asks.")
    ] = 3600,
    poll_jitter: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share it varies by.")] = 0.2,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    r"""Sign where a device was supplied and write the folder it is provisioned with.

    Example:
      primum-repo device provision --engineering engineering --clinical clinical \
        --as station-1 --as station-2 --enrolment enrolment.json \
        --component pvc-classifier --jurisdiction DE --site site-a --care-setting home \
        --udi 04012345678901 --engineering-url http://127.0.0.1:8001/ \
        --clinical-url http://127.0.0.1:8002/ --broker mqtt://127.0.0.1:18830 \
        --output provisioning
    """
    from primum_repo_tools import devices
    from primum_repo_tools.moments import now_utc, parse_life
    from primum_repo_tools.settings import checked_settings
    from primum_verifier.core.device import PlacementFacts
    from primum_verifier.shell.broker_address import parse_broker

    now = now_utc()
    brokers = tuple(parse_broker(text, where="--broker").uri for text in broker)
    authorities = None if broker_ca is None else devices.read_broker_ca(broker_ca)
    _country(jurisdiction)
    roots = {
        name: devices.read_root(folder, authority=name, now=now)
        for name, folder in (("engineering", engineering), ("clinical", clinical))
    }
    pinned = {name: root.data for name, root in roots.items()}
    if (site_root is None) != (site_url is None):
        raise _half_a_site()
    if site_root is not None:
        pinned["site"] = devices.read_site_root(site_root, now=now)
    place = {
        "jurisdiction": jurisdiction,
        "siteId": site,
        "careSetting": care_setting,
        "siteGroups": site_group or [],
        "useEnvironment": use_environment,
        "patientCategory": patient_category,
    }
    build = {
        "hardwareRevision": hardware_revision,
        "udiDi": udi,
        "modelNumber": model_number,
        "lotNumber": lot_number,
        "bootFirmware": boot_firmware,
        "sensors": sensor or [],
    }
    trust = {
        "component": component,
        "stage": stage,
        "offlineAllowanceDays": offline_allowance_days,
        "takesDrills": takes_drills,
        "receivers": devices.receiver_keys(receiver or []),
    }
    context = devices.device_context(
        devices.read_enrolment(enrolment),
        placement=checked_settings(
            PlacementFacts, place, where="--site, --care-setting, --site-group, --use-environment"
        ),
        build=checked_settings(
            devices.Build, build, where="--udi, --model-number, --lot-number, --sensor"
        ),
        number=number,
        life=parse_life(life),
        now=now,
    )
    trust_map = devices.first_trust_map(
        checked_settings(devices.Trust, trust, where="--component, --stage"), pinned, now=now
    )
    connections = devices.Connections(
        engineering_url=engineering_url,
        clinical_url=clinical_url,
        site_url=site_url,
        brokers=brokers,
        broker_ca=authorities is not None,
        fleet=fleet,
        poll_seconds=poll_seconds,
        poll_jitter=poll_jitter,
    )
    settings = devices.agent_settings(context, component, connections)
    if dry_run:
        data: dict[str, object] = {
            "context": context.model_dump(mode="json", by_alias=True),
            "trustMap": trust_map.model_dump(mode="json", by_alias=True),
        }
        tell(
            {**data, "dryRun": True},
            pretty(context.to_bytes()),
            pretty(trust_map.to_bytes()),
            settings,
            "Nothing was signed.",
            as_json=as_json,
        )
        return
    signers = devices.open_stations(
        station,
        engineering=roots["engineering"],
        clinical=roots["clinical"],
        secrets=secrets_from(passphrase_file),
    )
    devices.write_provisioning(
        output,
        context=context,
        signers=signers,
        roots=pinned,
        trust_map=trust_map,
        settings=settings,
        broker_ca=authorities,
    )
    device_id = context.factory.device_id
    tell(
        {"deviceId": device_id, "output": str(output), "signers": len(signers)},
        f"{device_id} is provisioned for {jurisdiction}, {site}: {output}.",
        as_json=as_json,
    )


def _half_a_site() -> UsageError:
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    return UsageError(
        "A responsible organisation is named by half.",
        reason=Reason.USAGE,
        where="--site-root, --site-url",
        expected="both: whom the device obeys, and where it finds them; or neither",
    )


def _country(text: str) -> None:
    from primum_verifier.core.errors import UsageError
    from primum_verifier.core.reasons import Reason

    if len(text) != _COUNTRY or not (text.isascii() and text.isalpha() and text.isupper()):
        raise UsageError(
            "This is no country.",
            reason=Reason.USAGE,
            where="--jurisdiction",
            found=text[:40],
            expected="two capital letters, such as DE",
            remedy="Give the country of supply by its code in ISO 3166-1 alpha-2.",
        )
