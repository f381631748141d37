r"""Show whom a device trusts: roots, roles, keys, thresholds; check a change of it.

The provisioning folder holds the trust map and the roots that it pins. Each authority is read at
its web root, so that what is shown is what a device would accept now. --change checks a new trust
map: every manufacturer root on the map in force must have signed it at its threshold.

Exit codes: 0 trusted (and the change, where one is given), 1 refused, 2 usage, 3 failed.

Examples:
  primum-verify trust --provisioning provisioning \
      --engineering engineering/web --clinical clinical/web
  primum-verify trust --provisioning provisioning --engineering engineering/web \
      --clinical clinical/web --change trust-map.dsse.json
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from primum_verifier.core.device import PROVISIONING_TARGET, ProvisioningKeys, TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.view import AuthorityView
from primum_verifier.keeping.trust_map import next_trust_map
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.table import rows
from primum_verifier.shell.web_roots import Views, WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots

_NO_DEVICE = "assessor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add_web_roots(parser, required=True)
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="trust as at this time")
    parser.add_argument("--change", type=Path, metavar="FILE", help="a signed new trust map")


def run(options: argparse.Namespace) -> int:
    """Read every authority, show it, and check the change where there is one."""
    now = options.at or datetime.now(UTC)
    web = WebRoots(options)
    views = web.refresh(now=now, device_id=_NO_DEVICE, held=())
    changed = None
    if options.change is not None:
        data = read_input(options.change, "trust map", 2 * MAX_DOCUMENT_BYTES)
        changed = next_trust_map(
            web.trust_map, data, engineering=views.engineering, clinical=views.clinical
        )
    told = _as_dict(web.trust_map, views, changed)
    print(json.dumps(told) if options.json else "\n".join(_told(web.trust_map, views, changed)))  # noqa: T201
    return EXIT_REFUSED if _shared(views) else EXIT_DONE


def _shared(views: Views) -> frozenset[str]:
    return views.engineering.public_keys & views.clinical.public_keys


def _both_list(views: Views) -> tuple[int, int]:
    """How many provisioning keys both authorities list, and how many must sign a context."""
    keys: list[set[str]] = []
    thresholds = []
    for view in (views.engineering, views.clinical):
        data = view.document(PROVISIONING_TARGET, roles=frozenset({"targets"}))
        if data is None:
            return 0, 0
        listed = parse_document(ProvisioningKeys, data, where=PROVISIONING_TARGET)
        keys.append({key.public for key in listed.keys})
        thresholds.append(listed.threshold)
    return len(keys[0] & keys[1]), max(thresholds)


def _views(views: Views) -> list[AuthorityView]:
    return [view for view in (views.engineering, views.clinical, views.site) if view is not None]


def _told(trust_map: TrustMap, views: Views, changed: TrustMap | None) -> list[str]:
    lines = rows(f"Trust map number {trust_map.number}", _of_map(trust_map))
    for view in _views(views):
        root = view.root_keys
        found = [
            (role, f"version {state.version}, expires {state.expires:%Y-%m-%d %H:%M} UTC")
            for role, state in sorted(view.roles.items())
        ]
        if root is not None:
            found.append(("root keys", f"{root.threshold} of {len(root.keys)} must sign"))
            found += [("", key.key_id) for key in root.keys]
        issued = "unknown" if view.issued_at is None else f"{view.issued_at:%Y-%m-%d %H:%M} UTC"
        found += [("issued", issued), ("keys", f"{len(view.public_keys)} in all roles")]
        lines += ["", *rows(view.authority.capitalize(), found)]
    shared, (both, needed) = _shared(views), _both_list(views)
    lines += [
        "",
        *rows(
            "Between them",
            [
                ("keys in both", f"{len(shared)}: refused" if shared else "none"),
                ("provisioning", f"{needed} of {both} keys that both list must sign a context"),
            ],
        ),
    ]
    if changed is not None:
        lines += ["", *rows(f"The change is signed: number {changed.number}", _of_map(changed))]
    return lines


def _of_map(trust_map: TrustMap) -> list[tuple[str, str]]:
    site = trust_map.site_root
    return [
        ("component", trust_map.component),
        ("stage", str(trust_map.stage)),
        ("engineering", f"root sha256 {trust_map.engineering_root.sha256}"),
        ("clinical", f"root sha256 {trust_map.clinical_root.sha256}"),
        ("site", "none" if site is None else f"root sha256 {site.sha256}"),
        ("offline", f"{trust_map.offline_allowance_days} days of allowance"),
        ("drills", "takes part" if trust_map.takes_drills else "does not take part"),
        *_receivers(trust_map),
    ]


def _receivers(trust_map: TrustMap) -> list[tuple[str, str]]:
    """The keys whose receipts the device takes."""
    keys = [key.key_id for key in trust_map.receivers] or ["none: receipts are not read"]
    return [("receivers" if not place else "", key) for place, key in enumerate(keys)]


def _as_dict(trust_map: TrustMap, views: Views, changed: TrustMap | None) -> dict[str, object]:
    both, needed = _both_list(views)
    return {
        "trustMap": trust_map.model_dump(mode="json", by_alias=True),
        "authorities": {
            view.authority: {
                "view": view.view_id,
                "issuedAt": None if view.issued_at is None else view.issued_at.isoformat(),
                "roles": {
                    role: {"version": state.version, "expires": state.expires.isoformat()}
                    for role, state in view.roles.items()
                },
                "rootThreshold": None if view.root_keys is None else view.root_keys.threshold,
                "rootKeys": []
                if view.root_keys is None
                else [key.key_id for key in view.root_keys.keys],
            }
            for view in _views(views)
        },
        "keysInBoth": len(_shared(views)),
        "provisioning": {"keysBothList": both, "threshold": needed},
        "change": None if changed is None else changed.model_dump(mode="json", by_alias=True),
    }
