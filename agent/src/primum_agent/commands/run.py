"""Supervise updates on this device until told to stop (SIGTERM, Ctrl-C).

One supervisor runs on a state folder.  It polls the two authorities, starts one child for each
attempt, serves the application's socket, watches the health window and reports over MQTT 5.
With --once it polls once, waits until a new release is committed or rolled back, and ends with
that attempt's exit code; 1 where the release was rolled back, 130 where Ctrl-C came before the
end.  A resident agent that is told to stop ends with 0.  At a terminal and with --once each event
is one line; otherwise the log is lines for journald.

Example:
  primum-agent run --state /var/lib/primum --provisioning /etc/primum
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from primum_agent.agent_choice import uncount
from primum_agent.broker import Message
from primum_agent.broker_tls import TlsFiles
from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    add_provisioning,
    journal_to_read,
    layout_of,
    show,
    show_json,
)
from primum_agent.device_state import DeviceState
from primum_agent.fetching_told import fetching_of
from primum_agent.health import status_message, topic
from primum_agent.identity import check_identity
from primum_agent.layout import Layout
from primum_agent.narrating import Narrator, busy_line, last_line
from primum_agent.paho_broker import PahoBroker
from primum_agent.remembered import last_poll
from primum_agent.reporter import Reporter
from primum_agent.service import ServiceManager
from primum_agent.settings import Settings, read_settings
from primum_agent.supervisor import make_supervisor
from primum_agent.system_sensors import SystemSensors, sources_of
from primum_verifier.core.errors import EXIT_BUSY, BusyError, PrimumError, UsageError
from primum_verifier.shell.broker_proxy import forget_proxies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``."""
    add_provisioning(parser)
    parser.add_argument("--once", action="store_true", help="one poll, then end")


def run(options: argparse.Namespace) -> int:
    """Supervise; the exit code is 0, or that of the attempt with ``--once``."""
    try:
        return supervise(options, once=options.once)
    except (BusyError, UsageError):
        # It says nothing of whether this agent comes to stand.
        with contextlib.suppress(PrimumError):
            uncount(layout_of(options))
        raise


def supervise(options: argparse.Namespace, *, once: bool, medium: Path | None = None) -> int:
    """Be the supervisor of this state folder.

    Args:
        options: ``--state``, ``--provisioning`` and ``--json``, as parsed.
        once: one poll, then end.
        medium: what that poll reads in place of the servers.

    Returns:
        0, or the exit code of the attempt where it is one poll only.
    """
    person = once or sys.stderr.isatty()
    _log_to_stderr(_Plain() if person else _JsonLines())
    forget_proxies(os.environ)
    settings = read_settings(options.provisioning)
    layout = layout_of(options)
    check_identity(settings, layout)
    say = (lambda _: None) if options.json else show
    narrator = None
    if person:
        narrator = Narrator(say=say, single=once, fetching=partial(fetching_of, layout))
    supervisor = make_supervisor(
        settings=settings,
        layout=layout,
        clock=SystemClock(),
        make_reporter=lambda wake: _reporter(settings, layout, wake),
        once=once,
        medium=medium,
        narrator=narrator,
    )
    supervisor.service = ServiceManager.of(os.environ)
    code = supervisor.run()
    if once and narrator is not None:
        tell_the_end(layout, narrator, code, options)
    elif options.json:
        show_json({"ok": code == 0, "exitCode": code, "events": [], "reasons": []})
    return code


def tell_the_end(
    layout: Layout, narrator: Narrator, code: int, options: argparse.Namespace
) -> None:
    """Say in one line, or as one JSON object, what a single run came to."""
    state: DeviceState | None = None
    poll: Mapping[str, Any] = {}
    with contextlib.suppress(PrimumError):
        journal = journal_to_read(layout)
        state, poll = journal.state(), last_poll(journal)
        journal.close()
    used = None if state is None else state.in_use
    if code == EXIT_BUSY:
        line, reasons = busy_line(state, state_folder=str(options.state))
    else:
        line, reasons = last_line(
            code=code,
            events=narrator.events,
            poll=poll,
            runs="" if used is None else used.name,
            state_folder=str(options.state),
        )
    if options.json:
        show_json(
            {
                "ok": code == 0,
                "exitCode": code,
                "events": narrator.events,
                "reasons": reasons,
                "message": line,
            }
        )
    else:
        show(line)


def _reporter(settings: Settings, layout: Layout, wake: Callable[[], None]) -> Reporter | None:
    broker = settings.broker
    if broker is None:
        return None
    device = settings.device_id
    will = Message(
        topic=topic(broker.fleet, device, "status"),
        payload=status_message(device_id=device, presence="offline", state=None),
        retain=True,
    )
    return Reporter(
        broker=PahoBroker(
            addresses=broker.parsed,
            tls=TlsFiles(settings.broker_ca, layout.client),
            client_id=device,
            will=will,
            listens=topic(broker.fleet, device, "request"),
            hears=topic(broker.fleet, device, "receipt"),
            wake=wake,
            proxy=broker.through,
        ),
        sensors=SystemSensors(layout.root, sources_of(settings)),
        clock=SystemClock(),
        fleet=broker.fleet,
        device_id=device,
        health_seconds=settings.timing.health_seconds,
        generations=layout.generations,
    )


class _JsonLines(logging.Formatter):
    """One JSON object a line, with the priority that journald reads."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        priority = next((code for level, code in self._PRIORITIES if record.levelno >= level), 7)
        content = {"logger": record.name, "message": record.getMessage()}
        return f"<{priority}>{json.dumps(content)}"


class _Plain(logging.Formatter):
    """A line for a person."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        return record.getMessage()


def _log_to_stderr(form: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    logging.basicConfig(handlers=[handler], level=logging.INFO)
