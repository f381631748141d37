"""``enroll --renew``: ask for a client certificate, and take the issuer's answer."""

from __future__ import annotations

import argparse

from primum_agent.clock import SystemClock, believed, plain_time
from primum_agent.commands.shared import journal_to_write, layout_of, show, show_json
from primum_agent.contexts import read_object
from primum_agent.durable import disk_errors, make_folder, write_file
from primum_agent.events import Entry, EventKind
from primum_agent.layout import Layout
from primum_agent.locking import ONCE_IT_IS_OVER, held
from primum_agent.out_of_service import refuse_out_of_service
from primum_verifier.core.errors import UsageError, WaitingError
from primum_verifier.core.reasons import Reason

_MOST_BYTES = 65_536


def renew(options: argparse.Namespace) -> int:
    """Write a request, or take a certificate."""
    layout = layout_of(options)
    refuse_out_of_service(layout)
    device_id = read_object(layout.enrolment).get("deviceId")
    if not isinstance(device_id, str) or (options.output is None) == (options.certificate is None):
        raise UsageError(
            "Either a request is written or a certificate is taken, on an enrolled device.",
            reason=Reason.USAGE,
            where="--output FILE or --certificate FILE",
            found="no enrolment" if not isinstance(device_id, str) else "both or neither",
            remedy="Enrol the device first; then ask with --output, answer with --certificate.",
        )
    make_folder(layout.run)
    with held(layout.update_lock, what="An update attempt is under way", remedy=ONCE_IT_IS_OVER):
        if options.output is not None:
            return _ask(options, layout, device_id)
        return _take(options, layout, device_id)


def _ask(options: argparse.Namespace, layout: Layout, device_id: str) -> int:
    from primum_agent.client_certificate import make_request  # noqa: PLC0415

    data = make_request(layout, device_id=device_id)
    with disk_errors(options.output):
        write_file(options.output.resolve(), data, mode=0o644)
    if options.json:
        show_json({"ok": True, "request": str(options.output)})
    else:
        show(f"Give {options.output} to whoever issues certificates for the broker.")
    return 0


def _take(options: argparse.Namespace, layout: Layout, device_id: str) -> int:
    from primum_agent.client_certificate import take_certificate  # noqa: PLC0415
    from primum_verifier.shell.commands.fetch import read_input  # noqa: PLC0415

    now = believed(SystemClock())
    if now is None:
        raise WaitingError(
            "Whether the certificate holds now cannot be said: the clock was never set.",
            reason=Reason.TRUST_TIME_UNKNOWN,
            where="clock",
            remedy="Set the clock, then try again; the certificate in force stands.",
        )
    data = read_input(options.certificate, "certificate", _MOST_BYTES)
    found = take_certificate(layout, data, device_id=device_id, now=now)
    detail = {
        "serial": found.serial,
        "issuer": found.issuer,
        "notAfter": plain_time(found.not_after),
    }
    if layout.journal.is_file():
        # A device that never ran has none yet; the certificate is in force all the same.
        with journal_to_write(layout) as journal:
            entry = Entry(kind=EventKind.CERTIFICATE_RENEWED, result="done", detail=detail)
            journal.record(entry)
    if options.json:
        show_json({"ok": True, **detail})
    else:
        show(f"Client certificate in force until {found.not_after:%Y-%m-%d}.")
    return 0
