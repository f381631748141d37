"""``primum-repo fleet``: key, enroll, ingest, status, device, export, fhir, windows, whose."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum_repo_tools.commands.common import (
    AsJson,
    DryRun,
    PassphraseFile,
    command,
    new_app,
    secrets_from,
    table,
    tell,
)
from primum_repo_tools.commands.fleet_store import (
    FILE,
    DatabaseAddress,
    Fleet,
    check_name,
    opened_store,
    store_of,
)
from primum_repo_tools.commands.fleet_windows import whose, windows
from primum_verifier.core.errors import EXIT_REFUSED, UsageError
from primum_verifier.core.reasons import Reason

if TYPE_CHECKING:
    from primum_repo_tools.fleet.subscriber import Access

app = new_app("The receiving end: what devices report, verified, stored and countersigned.")

_DAY = 86_400
_HOUR = 3600


@command(app)
def key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Private key to be made.")],
    *,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the key with which a receiver countersigns what it holds.

    Example:
      primum-repo fleet key receiver.pem
    """
    from primum_repo_tools.keys import create_key, public_path

    public = create_key(path, secrets=secrets_from(passphrase_file))
    tell(
        {"key": str(path), "public": str(public_path(path)), "keyId": public.key_id},
        f"Made {path}.",
        f"Give {public_path(path)} to whoever checks receipts.",
        as_json=as_json,
    )


@command(app)
def enroll(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Enrolments, contexts, keys, or folders of them."),
    ],
    *,
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Device, where FILE is a bare public key.")
    ] = None,
    another_key: Annotated[
        bool, typer.Option("--another-key", help="It was set up anew: this key counts as well.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it; enrol nobody.")] = False,
    as_json: AsJson = False,
) -> None:
    """Know devices by their keys: only what they report is believed.

    What waited in quarantine for a device is taken now.

    Example:
      primum-repo fleet enroll enrolment.json --database sqlite:///fleet.db --fleet demo
    """
    from primum_repo_tools.fleet.enrolment import read_enrolments
    from primum_repo_tools.moments import now_utc

    found = read_enrolments(files, name=device)
    told = [
        {"device": item.name, "keyId": item.key.key_id, "file": item.where, "taken": 0}
        for item in found
    ]
    if not dry_run:
        with store_of(database, fleet) as store:
            for item, line in zip(found, told, strict=True):
                taken = store.enroll(item.name, item.key, now=now_utc(), another_key=another_key)
                line["taken"] = taken.events + taken.heads + taken.reports
    tell(
        {"fleet": fleet, "enrolled": told, "dryRun": dry_run},
        table(
            "Would be enrolled" if dry_run else "Enrolled",
            ("device", "key", "file", "taken from quarantine"),
            [(item["device"], str(item["keyId"])[:16], item["file"], item["taken"])
             for item in told],
        ),
        as_json=as_json,
    )  # fmt: skip


@command(app)
def ingest(
    *,
    broker: Annotated[str, typer.Option(metavar="mqtts://HOST[:PORT]", help="MQTT 5 broker.")],
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    name: Annotated[
        str, typer.Option(help="This receiver's own name; the same at each start.")
    ] = "receiver",
    key_file: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Private key with which it countersigns."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who vouches for the broker; else the system."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="This receiver's own certificate.")
    ] = None,
    certificate_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's key.")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="http://HOST:PORT|socks5://HOST:PORT",
            help="The way to the broker; no variable of the environment is one.",
        ),
    ] = None,
    until_idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="End when nothing came for so long."),
    ] = None,
    ask_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="Ask a device for what is missing for so long; 0 for never.",
        ),
    ] = 60.0,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    r"""Take what devices report, verify it, store it, and only then acknowledge it.

    It runs until it is stopped (Ctrl-C or SIGTERM); what was not acknowledged then comes again at
    the next start. Several receivers, each with a --name of its own, share the work.

    Example:
      primum-repo fleet ingest --broker mqtt://127.0.0.1:1883 --database sqlite:///fleet.db \
        --fleet demo --key receiver.pem
    """
    from primum_repo_tools.fleet.receipts import Receiver
    from primum_repo_tools.keys import load_key

    try:
        from primum_repo_tools.fleet.ingesting import Ingester
        from primum_repo_tools.fleet.subscriber import Subscriber
    except ModuleNotFoundError as error:
        raise UsageError(
            "Ingesting needs a library that is not installed here.",
            reason=Reason.RESOURCE_PROGRAM,
            found=str(error),
            remedy="Install primum-repo-tools[fleet].",
        ) from error

    files = {"ca": ca, "certificate": certificate, "certificate_key": certificate_key}
    access = _access(broker, proxy=proxy, files=files)
    check_name("--name", name)
    receiver = None
    if key_file is not None:
        receiver = Receiver(load_key(key_file, secrets=secrets_from(passphrase_file)))
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopped.append(got))
    with store_of(database, fleet, receiver=receiver) as store:
        store.database.be_the_only(f"{fleet}/{name}")
        ingester = Ingester(
            store,
            Subscriber(access, fleet=fleet, name=name),
            say=lambda line: typer.echo(line, err=True),
            until_idle=until_idle,
            stopping=lambda: bool(stopped),
            ask_after=ask_after,
        )
        ingester.run()
    total = ingester.total
    told = {
        "fleet": fleet,
        "messages": total.messages,
        "events": total.events,
        "heads": total.heads,
        "reports": total.reports,
        "duplicates": total.duplicates,
        "asked": ingester.asking.asked,
        "quarantined": total.quarantined,
        "refused": ingester.refused,
        "alarms": ingester.alarms,
        "receipts": ingester.receipts,
    }
    tell(
        told,
        f"{total.messages} messages: {total.events} events, {total.heads} heads,"
        f" {total.reports} reports, {total.duplicates} duplicates; {total.quarantined} in"
        f" quarantine, {sum(ingester.refused.values())} refused, {ingester.alarms} alarms.",
        as_json=as_json,
    )


@command(app)
def status(
    *, database: DatabaseAddress = FILE, fleet: Fleet = "demo", as_json: AsJson = False
) -> None:
    """Show every device: what runs on it, how far its chain is proven, gaps and alarms.

    Exit codes: 0 no alarm stands, 1 at least one does, 2 usage, 3 the database cannot be used.

    Example:
      primum-repo fleet status --database sqlite:///fleet.db --fleet demo
    """
    from primum_repo_tools.commands.fleet_watched import watched_tables
    from primum_repo_tools.fleet.views import fleet_status
    from primum_repo_tools.moments import now_utc

    with opened_store(database, fleet) as store:
        found = fleet_status(store.database, fleet=fleet, now=now_utc())
    parts: list[Any] = [_devices(found["devices"])]
    if found["alarms"]:
        parts.append(_alarms(found["alarms"]))
    parts += watched_tables(found["devices"])
    if found["quarantine"]:
        rows = [(q["device"], q["messages"], q["times"], q["lastAt"], q["why"])
                for q in found["quarantine"]]  # fmt: skip
        columns = ("says it is", "messages", "times", "last", "why")
        parts.append(table("In quarantine, believed by nobody", columns, rows))
    if found["refused"]:
        rows = [(r["device"] or "(unknown)", r["reason"], r["times"], r["lastAt"], r["lastWhy"])
                for r in found["refused"]]  # fmt: skip
        parts.append(table("Refused", ("device", "reason", "times", "last", "why"), rows))
    tell(found, *parts, as_json=as_json)
    if found["alarms"]:
        raise typer.Exit(EXIT_REFUSED)


@command(app)
def device(
    name: Annotated[str, typer.Argument(metavar="DEVICE", help="Device, by its name.")],
    *,
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    last: Annotated[int, typer.Option(min=1, max=100_000, help="So many events.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show one device: its newest events in their order, its keys, gaps and alarms.

    Example:
      primum-repo fleet device wearable-001 --database sqlite:///fleet.db --last 20
    """
    from primum_repo_tools.commands.fleet_watched import watched_tables, window_table
    from primum_repo_tools.fleet.views import device_view
    from primum_repo_tools.moments import now_utc

    with opened_store(database, fleet) as store:
        found = device_view(store.database, fleet=fleet, name=name, last=last, now=now_utc())
    rows = [
        (
            event["sequence"],
            event.get("time", "?"),
            event["kind"].removeprefix("primum.device."),
            event.get("subject") or "",
            event.get("result") or "",
            ", ".join(event.get("reasons", ())),
            "proven" if event["proven"] else "not proven",
        )
        for event in found["timeline"]
    ]
    columns = ("event", "time", "what", "about", "result", "reasons", "chain")
    parts: list[Any] = [_devices([found]), table("Events", columns, rows)]
    if found["gaps"]:
        gaps = [(gap["after"], gap["before"], gap["why"]) for gap in found["gaps"]]
        parts.append(table("Gaps", ("after", "before", "why"), gaps))
    if found["alarms"]:
        parts.append(_alarms([{"device": name, **alarm} for alarm in found["alarms"]]))
    parts += watched_tables([found])
    if found["window"]:
        parts.append(window_table(found["window"]))
    tell(found, *parts, as_json=as_json)


@command(app)
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="History to be written.")],
    *,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Whose history.")],
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Also what no head covers, and what contradicts.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the history of a device as `primum-verify history` reads it.

    Example:
      primum-repo fleet export --device wearable-001 --database sqlite:///fleet.db history.jsonl
    """
    from primum_repo_tools.files import write_durably
    from primum_repo_tools.fleet.exporting import history

    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        with opened_store(database, fleet) as store:
            for line in history(store.database, fleet=fleet, name=device, unproven=unproven):
                count += 1
                yield line + b"\n"

    if dry_run:
        for _ in lines():
            continue
    else:
        write_durably(file, lines())
    tell(
        {"device": device, "file": str(file), "lines": count, "dryRun": dry_run},
        f"{count} lines {'would be' if dry_run else 'are'} in {file}.",
        f"Check them with: primum-verify history {file} --device-key KEY",
        as_json=as_json,
    )


@command(app)
def fhir(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FHIR R5 bundle to be written.")],
    *,
    contexts: Annotated[
        list[Path] | None,
        typer.Option(
            "--context", metavar="FILE", help="Signed contexts, or folders of them; repeat it."
        ),
    ] = None,
    database: DatabaseAddress = FILE,
    fleet: Fleet = "demo",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the devices of a fleet as FHIR R5 resources: UDI, model, versions, status.

    UDI, serial number and model stand in a device's signed context; without it they are left out.

    Example:
      primum-repo fleet fhir devices.json --context contexts --database sqlite:///fleet.db
    """
    from primum_repo_tools.files import write_durably
    from primum_repo_tools.fleet.enrolment import read_facts
    from primum_repo_tools.fleet.fhir import bundle
    from primum_repo_tools.fleet.views import inventory
    from primum_repo_tools.moments import now_utc, plain

    facts, now = read_facts(contexts or []), now_utc()
    with opened_store(database, fleet) as store:
        devices = inventory(store.database, fleet=fleet, now=now)
    found = bundle(devices, fleet=fleet, facts=facts, at=plain(now))
    if not dry_run:
        write_durably(file, json.dumps(found, indent=1).encode() + b"\n")
    tell(
        {"file": str(file), "devices": len(devices), "dryRun": dry_run},
        f"{len(devices)} devices {'would be' if dry_run else 'are'} in {file}.",
        as_json=as_json,
    )


for _other in (windows, whose):
    command(app)(_other)


def _access(text: str, *, proxy: str | None, files: dict[str, Path | None]) -> Access:
    """The way to the broker; what else would lead somewhere is forgotten first."""
    from primum_repo_tools.fleet.subscriber import Access
    from primum_verifier.shell.broker_address import parse_broker
    from primum_verifier.shell.broker_proxy import forget_proxies, parse_proxy

    forget_proxies(os.environ)
    address = parse_broker(text, where="--broker")
    if not address.tls and (proxy is not None or any(files.values())):
        raise UsageError(
            "Certificates and proxies are for TLS.",
            reason=Reason.USAGE,
            where="--broker",
            found=text[:100],
            expected="mqtts://HOST[:PORT]",
        )
    through = None if proxy is None else parse_proxy(proxy, where="--proxy")
    return Access(broker=address, proxy=through, **files)


def _devices(devices: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - a table
    rows = [
        (
            item["device"],
            " ".join(filter(None, (item["component"], item["version"]))) or "-",
            item["mode"] or "-",
            item["statementNumber"] or "-",
            _age(item["eligibilityAgeSeconds"]),
            item["lastSeen"] or "never",
            f"{item['provenTo']} of {item['lastEvent']}",
            len(item["gaps"]),
            len(item["alarms"]),
        )
        for item in devices
    ]
    columns = (
        "device", "release", "mode", "eligibility", "said", "last seen", "proven", "gaps", "alarms",
    )  # fmt: skip
    return table("Devices", columns, rows)


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    if seconds >= _DAY:
        return f"{seconds // _DAY} d ago"
    return f"{seconds // _HOUR} h ago" if seconds >= _HOUR else f"{seconds // 60} min ago"


def _alarms(alarms: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - a table
    rows = [
        (
            alarm["device"] or "(fleet)",
            alarm["kind"],
            "the device's key signed both" if alarm["isClone"] else "",
            ", ".join(f"{event['sequence']} {event['hash'][:12]}" for event in alarm["events"])
            if "events" in alarm
            else f"{alarm['subject']} {alarm['version']}",
        )
        for alarm in alarms
    ]
    return table("ALARMS", ("device", "kind", "clone", "evidence"), rows)
