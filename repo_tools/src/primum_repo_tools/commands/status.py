"""``primum-repo status``."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from typing import Any

from rich.table import Table

from primum_repo_tools.commands.common import AsJson, WorkbenchFolder, table, tell


def status(workbench: WorkbenchFolder, *, as_json: AsJson = False) -> None:
    """Show what is signed, published and approved, what is missing or was overridden.

    Example:
      primum-repo status engineering
      primum-repo status clinical --json
    """
    from primum_repo_tools.moments import now_utc
    from primum_repo_tools.status import workbench_status
    from primum_repo_tools.workbench import open_workbench

    bench = open_workbench(workbench)
    found: dict[str, Any] = workbench_status(bench, now=now_utc())
    parts: list[Any] = [f"{found['title']} ({found['authority']})", roles_table(found["roles"])]
    if "releases" in found:
        parts += [releases_table(found["releases"]), _rollout(found["rollout"])]
    if "statements" in found:
        people = [
            (p["personId"], p["printedName"], p["function"], p["status"]) for p in found["people"]
        ]
        parts += [
            table("People", ("id", "name", "function", "status"), people),
            statements_table(found["statements"]),
        ]
        if found["notices"]:
            parts.append(notices_table(found["notices"]))
        if found["leftToBurn"]:
            parts.append(f"NOT YET BURNED BY THE POLICY: {', '.join(found['leftToBurn'])}")
    if "acceptance" in found:
        accepted = [
            (item["statement"]["sha256"], item.get("acceptedUntil", "-"), item["person"])
            for item in found["acceptance"]["accepted"]
        ]
        parts.append(table("Accepted", ("statement", "until", "decided by"), accepted))
    if found["unsafe"]:
        rows = [(u["at"], u["release"], u["override"], u["refused"]) for u in found["unsafe"]]
        parts.append(table("OVERRIDDEN GATES", ("at", "release", "override", "refused"), rows))
    tell(found, *parts, as_json=as_json)


def roles_table(roles: Any) -> Table:  # noqa: ANN401 - plain values, as --json shows them
    """Roles as people read them."""
    return table(
        "Roles",
        ("role", "version", "expires", "state", "threshold"),
        [
            (
                item["role"],
                item["version"],
                item["expires"] or "-",
                item["state"] + (", changes staged" if item["staged"] else ""),
                f"{item['threshold']} of {len(item['keys'])}",
            )
            for item in roles
        ],
    )


def releases_table(releases: Any) -> Table:  # noqa: ANN401 - as roles_table
    """Releases as people read them."""
    return table(
        "Releases",
        ("release", "counter", "signed", "published", "self-test", "comparison"),
        [
            (
                item["release"],
                item["releaseCounter"],
                "yes" if item["signed"] else "no",
                "yes" if item["published"] else "no",
                item["selfTest"],
                item["comparison"],
            )
            for item in releases
        ],
    )


def statements_table(statements: Any) -> Table:  # noqa: ANN401 - as roles_table
    """Statements as people read them."""
    return table(
        "Statements",
        ("release", "number", "signed by", "missing", "published", "index"),
        [
            (
                item["release"],
                item["number"],
                ", ".join(_signed_by(given) for given in item["approvals"]) or "nobody",
                ", ".join(f"{name} {count}" for name, count in item["missing"].items()) or "nobody",
                "yes" if item["published"] else "no",
                item["index"] or "-",
            )
            for item in statements
        ],
    )


def _signed_by(given: Any) -> str:  # noqa: ANN401 - as roles_table
    told = f"{given['personId']} ({given['function']}, {given['decision']})"
    if given["counts"] or given["decision"] != "approve":
        return told
    return f"{told} DOES NOT COUNT: {given['whyNot']}"


def notices_table(notices: Any) -> Table:  # noqa: ANN401 - as roles_table
    """Notices in force as people read them."""
    return table(
        "Notices in force",
        ("kind", "releases", "for", "since", "ends", "reason", "index"),
        [
            (
                f"EXERCISE: {item['kind']}" if item["drill"] else item["kind"],
                ", ".join(item["releases"]),
                item["scope"],
                item["issuedAt"],
                item["ends"] or "-",
                item["reason"],
                f"NOT YET MARKED: {', '.join(item['leftToMark'])}"
                if item["leftToMark"]
                else ("marked" if item["takesAwayEverywhere"] else "-"),
            )
            for item in notices
        ],
    )


def _rollout(plan: Any) -> Table:  # noqa: ANN401 - as roles_table
    rows = [
        (
            f"{item['component']} {item['version']}",
            ring["name"],
            ring["devices"] if ring["devices"] == "all" else ", ".join(ring["devices"]),
            f"{ring['percentage']} %",
            item["pause"]["until"] if "pause" in item else "-",
        )
        for item in (plan or {}).get("assignments", ())
        for ring in item["rings"]
    ]
    number = plan["number"] if plan else "none"
    return table(
        f"Rollout plan {number}", ("release", "ring", "devices", "share", "paused until"), rows
    )
