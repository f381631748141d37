r"""Make the device's key on the device, and write what the manufacturer signs.

The private key never leaves the device: it lies in the state folder, encrypted where there is a
passphrase file, or on a token that --key names by a pkcs11: URI (RFC 7512).  There it is made, or
the one that is there already is used.  No secret is given on the command line: the PIN lies in the
file or credential that pin-source names.  A device that is enrolled already keeps its key and
writes the same enrolment again; under another name, or with another key, it is refused (exit code
2).  Exit code 3: the token or the passphrase cannot be used.

With --renew it is about the client certificate for the broker, which has a key of its own: --output
writes a request for a fresh key, --certificate takes the answer after checking that it fits (exit
code 1 where not).

Example:
  primum-agent enroll --state /var/lib/primum --device-id wearable-001 \
      --hardware-id cardiowear-2 --output enrolment.json
  primum-agent enroll --renew --state /var/lib/primum --output request.pem
  primum-agent enroll --renew --state /var/lib/primum --certificate answer.pem
  primum-agent enroll --state /var/lib/primum --device-id wearable-001 \
      --hardware-id cardiowear-2 --output enrolment.json --key \
      'pkcs11:token=device;object=primum?module-path=/usr/lib/softhsm/libsofthsm2.so\
&pin-source=file:/etc/primum/pin'
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from primum_agent.commands.shared import layout_of, show, show_json
from primum_agent.durable import disk_errors, make_folder, write_file
from primum_agent.folder_access import refuse_exposed
from primum_agent.identity import check_enrolment
from primum_agent.out_of_service import refuse_out_of_service, unfinished
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:@/ -]{0,199}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``enroll``."""
    parser.add_argument("--device-id", metavar="ID", help="such as wearable-001")
    parser.add_argument("--hardware-id", metavar="ID", help="such as cardiowear-2")
    parser.add_argument("--serial-number", metavar="TEXT", help="the device id when not given")
    parser.add_argument("--output", type=Path, metavar="FILE")
    parser.add_argument("--renew", action="store_true", help="the client certificate, not the key")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="with --renew: the issuer's answer, PEM"
    )
    parser.add_argument("--key", metavar="URI", help="a key on a token, as a pkcs11: URI")
    parser.add_argument(
        "--key-type",
        choices=("p256", "ed25519"),
        default="p256",
        help="what kind of key is made on a token; a key file is Ed25519",
    )
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="encrypt the key file; FILE stays where it is, the state folder links to it",
    )


def run(options: argparse.Namespace) -> int:
    """Make the key, or take the one that is there, and write the enrolment."""
    if options.renew:
        from primum_agent.commands.renewing import renew  # noqa: PLC0415

        return renew(options)
    for name in ("device_id", "hardware_id", "output"):
        if getattr(options, name) is None:
            raise UsageError(
                "An option is missing.",
                reason=Reason.USAGE,
                where=f"--{name.replace('_', '-')}",
                remedy="See `primum-agent enroll --help`.",
            )
    # The signer brings the cryptography that no other command needs.
    from primum_agent.key_address import parse_address  # noqa: PLC0415
    from primum_agent.signer import link_passphrase, make_device_key  # noqa: PLC0415
    from primum_agent.token_signer import TokenKeyType  # noqa: PLC0415

    address = None if options.key is None else parse_address(options.key, where="--key")
    serial = options.serial_number or options.device_id
    for name, found, form in (
        ("--device-id", options.device_id, _SLUG),
        ("--hardware-id", options.hardware_id, _SLUG),
        ("--serial-number", serial, _NAME),
    ):
        if not form.fullmatch(found):
            raise UsageError(
                "This cannot be the name of a device.",
                reason=Reason.USAGE,
                where=name,
                found=repr(found[:80]),
                expected=form.pattern,
            )
    layout = layout_of(options)
    if unfinished(layout) is not None:
        refuse_out_of_service(layout)
    check_enrolment(layout, device_id=options.device_id, hardware_id=options.hardware_id)
    make_folder(layout.root, mode=0o750)
    refuse_exposed(layout)
    if options.passphrase_file is not None:
        link_passphrase(layout, options.passphrase_file, address=address)
    signer = make_device_key(layout, address=address, kind=TokenKeyType(options.key_type))
    content = {
        "deviceId": options.device_id,
        "hardwareId": options.hardware_id,
        "serialNumber": serial,
        "publicKey": signer.public_key().model_dump(mode="json", by_alias=True),
    }
    data = json.dumps(content, indent=2).encode() + b"\n"
    write_file(layout.enrolment, data, mode=0o644)
    with disk_errors(layout.tombstone):
        # The last step: until here a device that was decommissioned still is.
        layout.tombstone.unlink(missing_ok=True)
    with disk_errors(options.output):
        output = options.output.resolve()
        write_file(output, data, mode=0o644)
    if options.json:
        show_json(content)
    else:
        key = signer.public_key()
        place = layout.device_key if address is None else "the token"
        show(f"{options.device_id}: key {key.key_id[:16]} ({key.key_type}) in {place}")
        show(f"Give {options.output} to `primum-repo device`.")
    return 0
