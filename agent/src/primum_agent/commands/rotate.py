r"""Give the device another key: prepare it, let the manufacturer sign for it, finish.

With --output the next key is made, in a file or with --key on a token, announced in the journal,
and an enrolment is written for `primum-repo device provision`, with a higher --number.  With
--context the signed context that came back is judged, and the next key takes the place of the one
in use: an event that the former key signs names it, so that whoever knows the device by its first
key can follow it.  Until then the device keeps the key in use.  With --cancel the next key is
forgotten.  The supervisor may run meanwhile.

A key that was lost or stolen cannot sign for the next one: decommission the device and enrol it
again.  Exit code 1: the context is not for this key, not newer, or not signed by enough; 2: no key
was prepared; 3: a key cannot be used; 4: an attempt is under way; 5: an authority was never
reached.

Example:
  primum-agent rotate --state /var/lib/primum --output next.json
  primum-agent rotate --state /var/lib/primum --provisioning /etc/primum \
      --context next/device-context.dsse.json --dry-run
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    add_provisioning,
    journal_to_read,
    layout_of,
    show,
    show_json,
)
from primum_agent.durable import disk_errors, write_file
from primum_agent.identity import check_identity, journal_owner
from primum_agent.layout import Layout
from primum_agent.settings import read_settings
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rotate``."""
    acts = parser.add_mutually_exclusive_group(required=True)
    acts.add_argument("--output", type=Path, metavar="FILE", help="prepare; write an enrolment")
    acts.add_argument("--context", type=Path, metavar="FILE", help="finish with this context")
    acts.add_argument("--cancel", action="store_true", help="forget the key that was prepared")
    parser.add_argument("--key", metavar="URI", help="the next key on a token, as a pkcs11: URI")
    parser.add_argument("--key-type", choices=("p256", "ed25519"), default="p256")
    parser.add_argument("--dry-run", action="store_true", help="judge the context, change nothing")
    add_provisioning(parser, required=False)


def run(options: argparse.Namespace) -> int:
    """Prepare, finish or cancel."""
    layout = layout_of(options)
    # Says it where the agent never ran.
    journal_to_read(layout).close()
    if options.context is not None:
        return _finish(options, layout)
    # The signer brings the cryptography that no other command needs.
    from primum_agent import key_rotation  # noqa: PLC0415

    device_id = journal_owner(layout) or layout.root.name
    if options.cancel:
        key = key_rotation.cancel(layout, clock=SystemClock(), device_id=device_id)
        _answer(options, {"cancelled": key}, f"The next key is forgotten: {key[:16] or 'no name'}")
        return 0
    return _prepare(options, layout, device_id)


def _prepare(options: argparse.Namespace, layout: Layout, device_id: str) -> int:
    from primum_agent import key_rotation  # noqa: PLC0415
    from primum_agent.key_address import parse_address  # noqa: PLC0415
    from primum_agent.token_signer import TokenKeyType  # noqa: PLC0415

    address = None if options.key is None else parse_address(options.key, where="--key")
    enrolment = _enrolment(layout)
    key = key_rotation.prepare(
        layout,
        clock=SystemClock(),
        device_id=device_id,
        address=address,
        kind=TokenKeyType(options.key_type),
    )
    content = {**enrolment, "publicKey": key.model_dump(mode="json", by_alias=True)}
    with disk_errors(options.output):
        output = options.output.resolve()
        write_file(output, json.dumps(content, indent=2).encode() + b"\n", mode=0o644)
    told = f"Next key {key.key_id[:16]}. Give {options.output} to `primum-repo device`."
    _answer(options, content, told)
    return 0


def _finish(options: argparse.Namespace, layout: Layout) -> int:
    from primum_agent.key_rotation import finish  # noqa: PLC0415

    if options.provisioning is None:
        raise UsageError(
            "The provisioning folder is not named.",
            reason=Reason.USAGE,
            where="--provisioning",
            remedy="Name the folder that the device runs with: the context goes there.",
        )
    settings = read_settings(options.provisioning)
    check_identity(settings, layout)
    found = finish(
        layout,
        settings=settings,
        context=options.context.resolve(),
        clock=SystemClock(),
        dry_run=options.dry_run,
    )
    words = "signs from now on" if found.done else "would sign"
    _answer(
        options,
        {"ok": True, **asdict(found)},
        f"Key {found.key[:16]} {words}, context {found.number}.",
    )
    return 0


def _enrolment(layout: Layout) -> dict[str, object]:
    with disk_errors(layout.enrolment):
        content: dict[str, object] = json.loads(layout.enrolment.read_bytes())
    return content


def _answer(options: argparse.Namespace, content: dict[str, object], text: str) -> None:
    if options.json:
        show_json(content)
    else:
        show(text)
