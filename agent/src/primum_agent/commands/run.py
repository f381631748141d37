"""Supervise updates on this device until told to stop (SIGTERM, Ctrl-C).

One supervisor runs on a state folder.  It polls the two authorities, starts one child for each
attempt, serves the application's socket, watches the health window and reports over MQTT 5.
With --once it polls once, waits until a new release is committed or rolled back, and ends with
that attempt's exit code.

Example:
  primum-agent run --state /var/lib/primum --provisioning /etc/primum
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable

from primum_agent.broker import Message, PahoBroker
from primum_agent.clock import SystemClock
from primum_agent.commands.shared import add_provisioning, layout_of, show_json
from primum_agent.health import status_message, topic
from primum_agent.identity import check_identity
from primum_agent.layout import Layout
from primum_agent.reporter import Reporter
from primum_agent.settings import Settings, read_settings
from primum_agent.supervisor import make_supervisor
from primum_agent.system_sensors import SystemSensors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``."""
    add_provisioning(parser)
    parser.add_argument("--once", action="store_true", help="one poll, then end")


def run(options: argparse.Namespace) -> int:
    """Supervise; the exit code is 0, or that of the attempt with ``--once``."""
    _log_to_stderr()
    settings = read_settings(options.provisioning)
    layout = layout_of(options)
    check_identity(settings, layout)
    supervisor = make_supervisor(
        settings=settings,
        layout=layout,
        clock=SystemClock(),
        make_reporter=lambda wake: _reporter(settings, layout, wake),
        once=options.once,
    )
    code = supervisor.run()
    if options.json:
        show_json({"ok": code == 0, "exitCode": code})
    return code


def _reporter(settings: Settings, layout: Layout, wake: Callable[[], None]) -> Reporter | None:
    address = settings.broker
    if address is None:
        return None
    device = settings.device_id
    will = Message(
        topic=topic(address.fleet, device, "status"),
        payload=status_message(device_id=device, presence="offline", state=None),
        retain=True,
    )
    return Reporter(
        broker=PahoBroker(address=address, client_id=device, will=will, wake=wake),
        sensors=SystemSensors(layout.root),
        clock=SystemClock(),
        fleet=address.fleet,
        device_id=device,
        health_seconds=settings.timing.health_seconds,
    )


class _JsonLines(logging.Formatter):
    """One JSON object a line, with the priority that journald reads."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        priority = next((code for level, code in self._PRIORITIES if record.levelno >= level), 7)
        content = {"logger": record.name, "message": record.getMessage()}
        return f"<{priority}>{json.dumps(content)}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
