"""Look for what would keep the agent from working, and say what to do about each.

Nothing is changed, but a change of the device's key that was cut is finished.  Exit code 0 when
all is well, 3 when something is not, 2 when settings, signed context, key and journal are not the
same device's.

Example:
  primum-agent doctor --state /var/lib/primum --provisioning /etc/primum
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from primum_agent import unit_health
from primum_agent.broker_tls import TlsFiles, make_context
from primum_agent.certificate_note import SOON, holds_until, told
from primum_agent.clock import ClockQuality, SystemClock
from primum_agent.commands.shared import add_provisioning, layout_of, show, show_json
from primum_agent.component_checks import component_checks
from primum_agent.content_store import SPARE_BYTES
from primum_agent.desk import ask
from primum_agent.finding import Finding
from primum_agent.folder_access import exposure
from primum_agent.identity import check_identity
from primum_agent.journal import Journal
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.layout import Layout
from primum_agent.receipt_checks import receipts_found
from primum_agent.remembered import memories
from primum_agent.settings import Settings, read_settings
from primum_agent.store_bound import used_bytes
from primum_agent.tested import ALARM, DISPLAY, NOT_CHECKED, TOPIC, told_tests
from primum_verifier.core.errors import EXIT_FAILED, EXIT_USAGE, PrimumError
from primum_verifier.core.limits import MAX_TIMESTAMP_BYTES
from primum_verifier.record.chain import check_history
from primum_verifier.shell.broker_address import BrokerAddress
from primum_verifier.shell.broker_proxy import ProxyAddress, open_tunnel
from primum_verifier.shell.commands.history import read_device_key

_CONNECT_SECONDS = 5.0
_IDENTITY = "identity"
_ANEW = (
    "Stop the agent, keep a copy of journal.db for the manufacturer, and remove it: the next start "
    "begins a new one with the gap marked, the floors stay, and what is active keeps running."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    add_provisioning(parser)


def run(options: argparse.Namespace) -> int:
    """Look at everything; one trouble does not hide the next."""
    layout = layout_of(options)
    findings = [_folder(layout), _space(layout), _journal(layout), _clock(), _supervisor(layout)]
    findings += _certificate(layout)
    findings += _remembered(layout)
    findings += _tested(layout)
    findings += _trust(options.provisioning, layout)
    if options.json:
        show_json([asdict(item) for item in findings])
    else:
        for item in findings:
            mark = "BAD" if not item.well else "note" if item.note else "ok"
            show(f"{mark:<4} {item.what}: {item.found}")
            if item.remedy and (item.note or not item.well):
                show(f"     -> {item.remedy}")
    if any(item.what == _IDENTITY and not item.well for item in findings):
        return EXIT_USAGE
    return 0 if all(item.well for item in findings) else EXIT_FAILED


def _folder(layout: Layout) -> Finding:
    what = "state folder"
    try:
        exposed = exposure(layout.root)
    except OSError as error:
        remedy = f"Make it for the agent's user: mkdir -m 750 {layout.root}"
        return Finding(what, well=False, found=str(error.strerror), remedy=remedy)
    if exposed is not None:
        return Finding(what, well=False, found=exposed[0], remedy=exposed[1])
    try:
        with tempfile.NamedTemporaryFile(dir=layout.root, prefix=".doctor-"):
            pass
    except OSError as error:
        remedy = "Make it writable; until then what runs keeps running and nothing updates."
        return Finding(what, well=False, found=str(error.strerror), remedy=remedy)
    return Finding(what, well=True, found=f"{layout.root}, writable")


def _space(layout: Layout) -> Finding:
    try:
        free = shutil.disk_usage(layout.root).free
    except OSError as error:
        return Finding("free space", well=False, found=str(error.strerror))
    remedy = "Free space on this file system; updates wait for it."
    return Finding("free space", well=free > SPARE_BYTES, found=f"{free} bytes", remedy=remedy)


def _store(settings: Settings, layout: Layout) -> Finding:
    used, bound = used_bytes(layout), settings.store.max_bytes
    found = f"{used} bytes" + (f" of {bound}" if bound else ", without a bound")
    remedy = "Raise max_bytes of [store] in agent.toml; until then no new release is fetched."
    return Finding("content store", well=not bound or used < bound, found=found, remedy=remedy)


def _journal(layout: Layout) -> Finding:
    if not layout.journal.exists():
        return Finding("journal", well=True, found="none yet; `run` begins it")
    try:
        journal = Journal.open_to_read(layout, clock=SystemClock())
        try:
            journal.check(whole=True)
            unsigned = _not_signed_by_this_device(journal, layout)
            waiting, troubles = journal.waiting_count(), journal.problems()
            pruned, size = journal.checkpoint(), journal.used_bytes()
        finally:
            journal.close()
    except DamagedJournalError as error:
        return Finding("journal", well=False, found=error.found, remedy=_ANEW)
    except PrimumError as error:
        return Finding("journal", well=False, found=error.found, remedy=error.remedy)
    if unsigned:
        return Finding("journal", well=False, found=unsigned, remedy=_ANEW)
    if troubles:
        found = "; ".join(f"{item.topic}: {item.what} ({item.times}x)" for item in troubles)
        return Finding("lasting troubles", well=False, found=found, remedy=troubles[0].text)
    begins = "" if pruned is None else f", pruned to event {pruned.sequence}"
    found = f"whole, {size} bytes{begins}, {waiting} events wait for the broker"
    return Finding("journal", well=True, found=found)


def _not_signed_by_this_device(journal: Journal, layout: Layout) -> str:
    """What the device's key did not sign of heads and checkpoint; empty where it signed all."""
    if not layout.device_public.is_file():
        return ""
    try:
        report = check_history(journal.history(), device_key=read_device_key(layout.device_public))
    except PrimumError as error:
        return f"{error.message} {error.where}"
    return "; ".join(f"after event {gap.after}: {gap.why}" for gap in report.gaps[:3])


def _clock() -> Finding:
    quality = SystemClock().quality()
    return Finding(
        "clock",
        well=quality is not ClockQuality.UNSET,
        found=f"{quality}, {SystemClock().now():%Y-%m-%dT%H:%M:%SZ}",
        remedy="Set the clock (systemd-timesyncd, chrony); nothing new is installed meanwhile.",
    )


def _supervisor(layout: Layout) -> Finding:
    live = ask(layout.socket, {"do": "status"})
    if live is None:
        remedy = "Start it with `primum-agent run`."
        # Before the first run, and between two runs with --once, that is as it should be.
        return Finding("supervisor", well=True, found="not running", remedy=remedy, note=True)
    return Finding("supervisor", well=True, found=f"process {live['pid']}")


def _certificate(layout: Layout) -> list[Finding]:
    """The client certificate, where the device has one."""
    if not layout.client.exists():
        return []
    now, ends = SystemClock().now(), holds_until(layout.client)
    return [
        Finding(
            "client certificate",
            well=ends is not None and ends > now,
            found=told(ends, now=now) or "cannot be read",
            remedy="Renew it: `primum-agent enroll --renew --output FILE`.",
            note=ends is not None and ends - now <= SOON,
        )
    ]


def _remembered(layout: Layout) -> list[Finding]:
    """Releases that were given up, with the way out; an unreadable journal is told elsewhere."""
    if not layout.journal.exists():
        return []
    try:
        journal = Journal.open_to_read(layout, clock=SystemClock())
        try:
            known = memories(journal)
        finally:
            journal.close()
    except PrimumError:
        return []
    findings = []
    for item in known:
        retry = f"Start the application, then `primum-agent retry {item.name.rpartition(' ')[2]}`."
        findings.append(
            Finding(
                item.name,
                well=not (item.final and item.retry),
                found=item.text,
                remedy=retry if item.retry else "Publish a corrected release.",
                note=True,
            )
        )
    return findings


def _tested(layout: Layout) -> list[Finding]:
    """The self-test of what runs, and what nobody checks; troubles of them are told elsewhere."""
    if not layout.journal.exists():
        return []
    try:
        journal = Journal.open_to_read(layout, clock=SystemClock())
        try:
            used = journal.state().in_use
            told = told_tests(journal, used)
            troubles = {item.topic for item in journal.problems()}
        finally:
            journal.close()
    except PrimumError:
        return []
    if used is None:
        return []
    passed = told["passed"]
    findings = [
        Finding(
            TOPIC,
            well=TOPIC not in troubles,
            found=f"passed {passed}" if passed else "not passed here yet",
            remedy="It is tested while nobody is served: `primum-agent status` says what waits.",
            note=not passed,
        )
    ]
    for what, member in ((DISPLAY, "display"), (ALARM, "alarm")):
        unknown = told[member] == NOT_CHECKED
        remedy = f"Bring a program: {member}_probe of [self_test] in agent.toml."
        if what in troubles:
            remedy = "Look at the device: it does not show, or notify, as it was released to."
        well = what not in troubles
        findings.append(Finding(what, well=well, found=told[member], remedy=remedy, note=unknown))
    return findings


def _trust(provisioning: Path, layout: Layout) -> list[Finding]:
    try:
        settings = read_settings(provisioning)
    except PrimumError as error:
        return [
            Finding(
                "settings", well=False, found=f"{error.where} {error.found}", remedy=error.remedy
            )
        ]
    findings = [
        Finding("settings", well=True, found=f"{settings.device_id}, {settings.component}"),
        _guarded(_IDENTITY, lambda: _identity(settings, layout)),
        _guarded("key, trust map, context", lambda: _provisioned(settings, layout)),
        _store(settings, layout),
        *_health_unit(settings),
    ]
    for name, repository in settings.repositories.all.items():
        *mirrors, own = (item.metadata_url for item in repository.everywhere)
        named = [(f"{name} mirror {number}", url) for number, url in enumerate(mirrors, start=1)]
        findings += [
            _guarded(what, partial(_reach, settings, layout, url))
            for what, url in (*named, (f"{name} repository", own))
        ]
    findings += [
        _guarded(what, look) for what, look in component_checks(settings.components, layout)
    ]
    return [*findings, *_received(settings, layout), *_brokers(settings, layout)]


def _received(settings: Settings, layout: Layout) -> list[Finding]:
    """Whether receipts come back; without a broker there is nobody to give one."""
    if settings.broker is None or not layout.journal.exists():
        return []
    from primum_agent.trust_in_force import read_trust_map  # noqa: PLC0415

    clock = SystemClock()
    try:
        receivers = len(read_trust_map(settings).receivers)
        journal = Journal.open_to_read(layout, clock=clock)
        try:
            needed = settings.journal.wait_for_receipt
            return [receipts_found(journal, receivers=receivers, needed=needed, clock=clock)]
        finally:
            journal.close()
    except PrimumError:
        # A journal or a trust map that cannot be read is told elsewhere.
        return []


def _health_unit(settings: Settings) -> list[Finding]:
    """Whether the service that is to vouch for releases ever could."""
    health = settings.health
    if not health.unit:
        return []
    what = f"health by {health.unit}"
    try:
        seen = unit_health.look(health.unit)
    except PrimumError as error:
        return [Finding(what, well=False, found=error.found, remedy=error.remedy)]
    if why := unit_health.never_proves(seen):
        remedy = f"Give {health.unit} Type=notify and WatchdogSec=; until then it proves nothing."
        return [Finding(what, well=False, found=why, remedy=remedy)]
    seconds = unit_health.needed(seen, least=health.unit_seconds)
    return [Finding(what, well=True, found=f"proves a release once it held for {seconds:g} s")]


def _guarded(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, well=True, found=look())
    except PrimumError as error:
        found = f"{error.message} {error.where} {error.found}".strip()
        return Finding(what, well=False, found=found, remedy=error.remedy)


def _identity(settings: Settings, layout: Layout) -> str:
    check_identity(settings, layout)
    return "settings, signed context, key and journal name the same device"


def _provisioned(settings: Settings, layout: Layout) -> str:
    # The heavy parts are loaded where they are needed.
    from primum_agent.device import open_device  # noqa: PLC0415

    # The stored views are not asked for; a journal in memory leaves the device's own alone.
    journal = Journal(
        layout=layout,
        connection=sqlite3.connect(":memory:"),
        clock=SystemClock(),
        device_id=settings.device_id,
    )
    try:
        device = open_device(
            settings=settings,
            layout=layout,
            clock=SystemClock(),
            journal=journal,
            attempt="doctor",
        )
    finally:
        journal.close()
    if device.site_problem is not None:
        # Nothing new is activated for it; a person has to see that.
        raise device.site_problem
    trust_map = device.trust_map
    return f"map {trust_map.number}, stage {trust_map.stage}, key {device.key_id[:16]}"


def _reach(settings: Settings, layout: Layout, metadata_url: str) -> str:
    from primum_agent.device import make_fetcher  # noqa: PLC0415

    url = f"{metadata_url}timestamp.json"
    pieces = make_fetcher(settings, layout).fetch(url, max_bytes=MAX_TIMESTAMP_BYTES)
    return f"{url}: {sum(len(piece) for piece in pieces)} bytes"


def _brokers(settings: Settings, layout: Layout) -> list[Finding]:
    if settings.broker is None:
        return [Finding("broker", well=True, found="none configured; events stay on the device")]
    files = TlsFiles(settings.broker_ca, layout.client)
    through = settings.broker.through
    return [_broker(address, files, through) for address in settings.broker.parsed]


def _broker(address: BrokerAddress, files: TlsFiles, through: ProxyAddress | None) -> Finding:
    proxy = through if address.tls else None
    where = (address.host, address.port) if proxy is None else (proxy.host, proxy.port)
    try:
        with socket.create_connection(where, timeout=_CONNECT_SECONDS) as plain:
            spoken = "accepts connections"
            if proxy is not None:
                open_tunnel(plain, kind=proxy.kind, host=address.host, port=address.port)
            if address.tls:
                with make_context(files).wrap_socket(plain, server_hostname=address.host) as secure:
                    spoken = f"speaks {secure.version()}, and is whom the device believes"
            return Finding("broker", well=True, found=f"{address.uri} {spoken}")
    except OSError as error:
        remedy = "Start it, or correct [broker] in agent.toml; updates go on without it."
        return Finding("broker", well=False, found=f"{address.uri}: {error}", remedy=remedy)
