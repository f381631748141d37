"""What monitors and people say of devices, as tables of ``fleet status`` and ``fleet device``."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from primum_repo_tools.commands.common import table


def watched_tables(devices: list[dict[str, Any]]) -> list[Table]:
    """Drift that lasts and remarks of some devices; no table where there are none."""
    drift = [
        (
            item["device"],
            found["alarm"],
            found["channel"],
            f"{found['ratio']:g} times its limit",
            found["action"],
            found["statementNumber"],
            found["time"],
            _chain(found),
        )
        for item in devices
        for found in item["drift"]
    ]
    remarks = [
        (
            item["device"],
            said["severity"],
            said["category"],
            said["role"],
            said["statementNumber"] or "-",
            said["time"],
            "on the device" if said.get("text") else "",
            _chain(said),
        )
        for item in devices
        for said in item["remarks"]
    ]
    found = []
    if drift:
        columns = (
            "device",
            "alarm",
            "channel",
            "how far",
            "action",
            "eligibility",
            "since",
            "chain",
        )
        found.append(table("Drift that lasts", columns, drift))
    if remarks:
        columns = ("device", "severity", "about", "by a", "eligibility", "time", "text", "chain")
        found.append(table("Remarks", columns, remarks))
    return found


def window_table(window: dict[str, Any]) -> Table:
    """The newest window, channel by channel."""
    rows = [
        (name, channel["kind"], _cells(channel), _ratios(channel["ratios"]))
        for name, channel in window["channels"].items()
    ]
    title = f"Window {window['window']} of {window['windowHours']} h, ended {window['day']}"
    return table(title, ("channel", "kind", "counted", "times the limit"), rows)


def _cells(channel: dict[str, Any]) -> str:
    if channel["kind"] == "latency":
        return f"{_told(channel['p50Ms'])}, {_told(channel['p95Ms'])}, {_told(channel['p99Ms'])} ms"
    if channel["kind"] == "rate":
        return f"{_told(channel['events'])} of {_told(channel['of'])}"
    return " ".join(_told(cell) for cell in channel["cells"])


def _ratios(ratios: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {_told(ratio)}" for name, ratio in ratios.items())


def _told(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _chain(item: dict[str, Any]) -> str:
    return "proven" if item["proven"] else "not proven"
