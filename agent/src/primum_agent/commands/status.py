"""What runs on this device, and how its update stands.

Every gate is shown with its reading, since when it holds, and what would open it, as it was
judged at the last poll; `primum-agent check` judges them now.

Exit code 0 when a release serves, 1 in safe mode, when a trouble lasts or the last poll failed.

Example:
  primum-agent status --state /var/lib/primum
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from primum_agent.certificate_note import holds_until, told
from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    gate_table,
    journal_to_read,
    layout_of,
    pairs,
    show,
    show_json,
)
from primum_agent.consenting import told_question
from primum_agent.delta_memory import saved_bytes
from primum_agent.desk import ask
from primum_agent.device_state import DeviceState
from primum_agent.fetching_told import Fetching, fetching_of
from primum_agent.gate_memory import gates_of, told_gates
from primum_agent.generation_files import components_of
from primum_agent.hashed import last_hashed
from primum_agent.health import summary_of
from primum_agent.locking import is_held
from primum_agent.mirror_memory import told_mirrors
from primum_agent.monitor_kept import KEPT
from primum_agent.monitor_told import monitor_for_people, told_monitor
from primum_agent.receipts import newest_receipt
from primum_agent.remembered import last_poll, memories
from primum_agent.shadow_told import shadow_for_people, told_shadow
from primum_agent.standing import read_standing
from primum_agent.store_bound import partial_bytes, used_bytes
from primum_agent.tested import told_tests
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED
from primum_verifier.core.limits import MIB

_HOUR = 3600.0


def add_arguments(_: argparse.ArgumentParser) -> None:
    """``status`` has no options of its own."""


def run(options: argparse.Namespace) -> int:
    """Show it; the journal is read, never written."""
    layout = layout_of(options)
    journal = journal_to_read(layout)
    state, problems = journal.state(), journal.problems()
    waiting, remembered, poll = journal.waiting_count(), memories(journal), last_poll(journal)
    gates = {**told_gates(gates_of(journal)), "question": told_question(journal)}
    hashed = None if state.in_use is None else last_hashed(journal, state.in_use)
    tested, monitored = told_tests(journal, state.in_use), journal.counter(KEPT, "")
    receipt, mirrors = newest_receipt(journal), told_mirrors(journal)
    saved = saved_bytes(journal)
    journal.close()
    live = ask(layout.socket, {"do": "status"})
    fetching = fetching_of(layout) if is_held(layout.update_lock) else None
    standing = read_standing(layout) or {}
    content: dict[str, Any] = {
        **summary_of(state),
        "generation": state.active,
        "components": components_of(layout.generations / str(state.active)),
        "candidate": None if state.candidate is None else state.candidate.name,
        "onThisDevice": _others(state),
        "remembered": [asdict(item) for item in remembered],
        "lastPoll": dict(poll),
        "faults": dict(state.faults),
        "conclusions": dict(state.conclusions),
        "reasons": standing.get("reasons", []),
        "notice": standing.get("notice", ""),
        "stopped": state.stopped,
        **{name: standing.get(name) for name in ("ordered", "ending", "suspended")},
        **gates,
        "eventsWaiting": waiting,
        "receipt": None
        if receipt is None
        else {
            "event": receipt.sequence,
            "eventHash": receipt.hash,
            "issuedAt": receipt.issued_at,
            "keyId": receipt.key_id,
        },
        "storeBytes": used_bytes(layout),
        "partialBytes": partial_bytes(layout),
        "fetching": None if fetching is None else fetching.as_dict(),
        "mirrorsSetBack": mirrors,
        "savedByDeltas": saved,
        "lastHashed": None if hashed is None else hashed.time,
        "selfTest": tested,
        "shadow": told_shadow(layout, state),
        "monitor": told_monitor(monitored),
        "clock": str(SystemClock().quality()),
        "clientCertificate": told(holds_until(layout.client), now=SystemClock().now()) or None,
        "problems": [
            {"topic": item.topic, "what": item.what, "times": item.times, "since": item.first}
            for item in problems
        ],
        "supervisor": live,
    }
    if options.json:
        show_json(content)
    else:
        show(_for_people(content))
        if content["gates"]:
            show(f"\n{gate_table(content['gates'])}\nas judged {content['gatesJudged']}")
    well = state.in_use is not None and not problems and poll.get("code") != EXIT_FAILED
    return EXIT_DONE if well else EXIT_REFUSED


def _others(state: DeviceState) -> list[str]:
    """The releases that lie on this device besides the one that runs, each once."""
    used = state.in_use
    names = dict.fromkeys(item.name for item in state.generations)
    return [name for name in names if used is None or name != used.name]


def _for_people(content: dict[str, Any]) -> str:
    running = "none: safe mode"
    if content["version"] is not None:
        proven = "proven" if content["proven"] else "provisional"
        running = (
            f"{content['component']} {content['version']} "
            f"(generation {content['generation']}, {proven}, "
            f"statement {content['statementNumber']})"
        )
    live, certificate = content["supervisor"], content["clientCertificate"]
    lines: dict[str, object] = {
        "running": running,
        **(
            {"components": ", ".join(f"{name} {of}" for name, of in content["components"].items())}
            if content["components"]
            else {}
        ),
        "update": content["state"],
        "candidate": content["candidate"] or "none",
        "on this device": ", ".join(content["onThisDevice"]) or "no other release",
        "waiting events": content["eventsWaiting"],
        "received": _received(content["receipt"]),
        "files checked": content["lastHashed"] or "not yet",
        "self-test": _tested(content["selfTest"]),
        "display": content["selfTest"]["display"],
        "alarm path": content["selfTest"]["alarm"],
        "store": _store(content["storeBytes"], content["supervisor"]),
        "clock": content["clock"],
        **({"client certificate": certificate} if certificate else {}),
        "supervisor": "not running" if live is None else f"process {live['pid']}",
    }
    lines |= {} if content["shadow"] is None else {"shadow": shadow_for_people(content["shadow"])}
    lines |= {"monitor": monitor_for_people(content["monitor"])} if content["monitor"] else {}
    if content["fetching"] is not None:
        lines["fetching"] = Fetching(
            **{name: value for name, value in content["fetching"].items() if name != "percent"}
        ).line
    elif content["partialBytes"]:
        lines["on its way"] = f"{content['partialBytes']} bytes are kept of what is to be fetched"
    saved = content["savedByDeltas"]
    lines |= {"saved by deltas": f"{saved / MIB:.1f} MiB"} if saved else {}
    lines |= _mirrors(content["mirrorsSetBack"])
    lines |= _waits(content)
    lines |= _narrowings(content)
    if live is not None:
        lines["clinical use"] = live["clinicalUse"]
        lines["next poll"] = f"in {live['nextPollSeconds']:g} s"
        if "healthWindowSeconds" in live:
            lines["health window"] = f"{live['healthWindowSeconds']:g} s left"
        if "broker" in live:
            why = f": {live['broker']['why']}" if live["broker"]["why"] else ""
            at = f" {live['broker']['address']}" if live["broker"]["link"] == "up" else ""
            lines["broker"] = f"{live['broker']['link']}{at}{why}"
    return pairs({**lines, **_troubles(content)})


def _received(receipt: dict[str, Any] | None) -> str:
    """How far a receiver that the trust map names holds what this device reported."""
    if receipt is None:
        return "no receipt of a known receiver"
    signed = f"countersigned {receipt['issuedAt']} by {receipt['keyId'][:16]}"
    return f"to event {receipt['event']}, {signed}"


def _tested(tested: dict[str, str]) -> str:
    """When what runs passed its self-test last, and that it failed since."""
    passed = f"passed {tested['passed']}" if tested["passed"] else "not passed here yet"
    ended = tested["ended"]
    return f"{passed}; failed {ended}" if ended and ended != tested["passed"] else passed


def _narrowings(content: dict[str, Any]) -> dict[str, str]:
    """What narrows the use of what runs, or of everything."""
    lines: dict[str, str] = {}
    if content["reasons"]:
        lines["reasons"] = ", ".join(content["reasons"])
    if content["ordered"]:
        lines["ordered"] = content["ordered"]
    if content["ending"]:
        lines["ending"] = "no new episode begins; the one that runs is finished"
    if content["stopped"]:
        lines["stopped"] = f"{content['stopped']}; primum-agent reinstate ends it"
    if content["suspended"]:
        lines["suspended"] = content["suspended"]
    if content["notice"]:
        lines["notice"] = content["notice"]
    return lines


def _store(used: int, live: dict[str, Any] | None) -> str:
    """What releases use of the disk, and of the bound that a running supervisor keeps."""
    bound = 0 if live is None else live.get("storeMaxBytes", 0)
    return f"{used} bytes" + (f" of {bound}" if bound else "")


def _mirrors(set_back: list[dict[str, Any]]) -> dict[str, str]:
    """Servers that failed while another one worked."""
    return {
        f"mirror {item['server']}": f"{item['reason']}, {item['times']} times since "
        f"{item['since']}; asked last for {item['askedLastForSeconds'] / _HOUR:.1f} powered hours"
        for item in set_back
    }


def _waits(content: dict[str, Any]) -> dict[str, str]:
    """The release that gates hold, and what a person is asked."""
    lines: dict[str, str] = {}
    if content["waiting"]:
        lines["waiting"] = f"{content['waiting']['name']}, since {content['waiting']['since']}"
    if content["question"]:
        lines["asked"] = _asked(content["question"])
    return lines


def _asked(question: dict[str, Any]) -> str:
    """The question to a person, and what becomes of it without an answer."""
    holds = question["holdsForSeconds"]
    end = (
        "it waits until somebody does"
        if holds is None
        else f"without an answer it holds for {holds / _HOUR:.1f} powered hours more"
    )
    return (
        f"agree to {question['name']}? primum-agent consent, or defer "
        f"({question['deferralsLeft']} left); {end}"
    )


def _troubles(content: dict[str, Any]) -> dict[str, str]:
    """What went wrong last, what was given up, and what lasts."""
    lines: dict[str, str] = {}
    poll = content["lastPoll"]
    if poll.get("code"):
        lines["last poll"] = f"{poll['text']} ({poll['name'] or 'no release'}, {poll['time']})"
    for item in content["remembered"]:
        version = item["name"].rpartition(" ")[2]
        way_out = f"; primum-agent retry {version}" if item["final"] and item["retry"] else ""
        lines[item["name"]] = item["text"] + way_out
    for problem in content["problems"]:
        lines[problem["topic"]] = (
            f"{problem['what']} ({problem['times']} times since {problem['since']})"
        )
    return lines
