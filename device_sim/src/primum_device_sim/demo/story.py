"""The story that ``make demo`` tells: the first update, end to end, with real parts only.

Each scene types the commands that a person would type, waits for what a real device reports over
a real broker, and ends with one sentence that says what was seen.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from primum_device_sim.demo.release_folders import COMPONENT, HARDWARE
from primum_device_sim.demo.stage import Scene, Stage, free_port
from primum_verifier.core.errors import EXIT_BUSY, EXIT_REFUSED, FailedError
from primum_verifier.core.reasons import Reason

PASSPHRASE = "a passphrase for the demo only"  # noqa: S105 - it protects keys made for minutes
FIRST, SECOND = "wearable-001", "wearable-002"
PEOPLE = (
    ("a.berg", "Dr Anna Berg", "clinical"),
    ("q.lee", "Quentin Lee", "quality"),
    ("r.ito", "Rei Ito", "regulatory"),
)

_FROZEN_LIFE_SECONDS = 3
_POLL_SECONDS = 1


@dataclass(frozen=True)
class Act:
    """One scene of the story and what it promises.

    Attributes:
        key: its letter.
        title: its heading.
        promised: what the closing table holds it to.
        play: plays it and returns what was seen.
    """

    key: str
    title: str
    promised: str
    play: Callable[[], str]


class Story:
    """The nine scenes, in order, on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._folder = stage.folder
        self._ports = {name: free_port() for name in ("engineering", "clinical")}
        self._verdicts = stage.verdicts
        self._attic = stage.folder / "attic" / "engineering-metadata"
        self.acts = (
            Act("a", "Two authorities, three approvers, one wearable",
                "two roots, distinct keys, a device that trusts nothing else", self._authorities),
            Act("b", "Release 1.0.0: deployable, eligible, proven",
                "found, verified, self-tested, activated, healthy, committed", self._first_release),
            Act("c", "The application classifies, each output stamped",
                "each output carries release version and eligibility id", self._application),
            Act("d", "1.1.0 is better; a sibling that is not is refused",
                "1.1.0 replaces 1.0.0; 1.1.1 is refused by name", self._better_release),
            Act("e", "1.2.0: deployable, not eligible",
                "staged, never activated, the missing functions named", self._not_eligible),
            Act("f", "1.3.0: eligible, but wrong in the self-test",
                "publishing refuses; forced, the device refuses too", self._broken_release),
            Act("g", "Tampered, replayed, frozen",
                "each refused, with its code", self._attacks),
            Act("h", "kill -9 in the middle of an activation",
                "exactly old or new, then converged", self._power_cut),
            Act("i", "Withdrawn, and withdrawn again",
                "falls back and says why; then the declared safe mode", self._withdrawals),
        )  # fmt: skip

    def tell(self) -> list[dict[str, str]]:
        """Play every scene.

        Returns:
            The closing table: for each scene what was promised, what was seen, and how long.

        Raises:
            FailedError: something did not end as promised.
        """
        table = []
        for act in self.acts:
            with self._stage.scene(act.key, act.title) as scene:
                scene.outcome = act.play()
            table.append(_row(act, scene))
        return table

    # --- the people at their workbenches ---------------------------------------------------

    def _repo(self, *words: str, expect: int = 0, quiet: bool = True) -> str:
        return self._stage.run("primum-repo", *words, expect=expect, quiet=quiet).output

    def _build(self, version: str, *earlier: str) -> None:
        if earlier:
            fixtures, plan = f"model/{version}/fixtures.npz", f"model/{version}/release.toml"
            self._repo(
                *("fixtures", "decide", fixtures, "--workbench", "engineering"),
                *(word for one in earlier for word in ("--release", f"{COMPONENT}/{one}")),
                *("--self-test", plan, "--output", fixtures),
            )
        self._repo("release", "build", "engineering", f"model/{version}/release.toml")

    def _compare(self, version: str, last: str, *, expect: int = 0) -> str:
        return self._repo(
            "compare",
            *("--candidate", f"model/{version}/locked.npz"),
            *("--last", f"model/{last}/locked.npz"),
            *("--original", "model/1.0.0/locked.npz"),
            *("--protocol", "model/protocol.toml"),
            *("--workbench", "engineering", "--release", f"{COMPONENT}/{version}"),
            *("--output", f"model/{version}/comparison.json"),
            expect=expect,
            quiet=False,
        )

    def _sign_and_publish(self, version: str, *flags: str) -> None:
        self._repo("release", "sign", "engineering", COMPONENT, version)
        self._repo("publish", "engineering", *flags, quiet=False)

    def _make_eligible(self, version: str) -> None:
        terms = ["--terms", "model/terms.toml"]
        if version != "1.0.0":
            terms += ["--comparison", f"model/{version}/comparison.json"]
        self._repo("approve", "prepare", "clinical", COMPONENT, version, *terms)
        for person, _, _ in PEOPLE:
            words = ("approve", "sign", "clinical", COMPONENT, version)
            self._repo(*words, "--as", f"people/{person}", "--yes")
        self._repo("publish", "clinical", quiet=False)

    def _roll_out(self, version: str, *more: str) -> None:
        words = ("rollout", "engineering", "--component", COMPONENT, "--version", version)
        self._repo(*words, *more, quiet=False)

    # --- a device --------------------------------------------------------------------------

    def _provision(self, device: str) -> None:
        self._stage.run(
            *("primum-agent", "enroll", "--state", f"{device}/state", "--device-id", device),
            *("--hardware-id", HARDWARE, "--output", f"{device}/enrolment.json"),
        )
        self._repo(
            *("device", "provision", "--engineering", "engineering", "--clinical", "clinical"),
            *("--as", "station-1", "--as", "station-2"),
            *("--enrolment", f"{device}/enrolment.json", "--component", COMPONENT),
            *("--jurisdiction", "DE", "--site", "home-7", "--care-setting", "home"),
            *("--udi", "04012345678901"),
            *("--engineering-url", f"http://127.0.0.1:{self._ports['engineering']}/"),
            *("--clinical-url", f"http://127.0.0.1:{self._ports['clinical']}/"),
            *("--broker", f"mqtt://127.0.0.1:{self._stage.broker.port}"),
            *("--poll-seconds", str(_POLL_SECONDS), "--output", f"{device}/provisioning"),
            quiet=False,
        )

    def _start_device(self, device: str, **environment: str) -> None:
        self._stage.start(
            f"{device}-agent",
            *("primum-agent", "run", "--state", f"{device}/state"),
            *("--provisioning", f"{device}/provisioning"),
            environment=environment,
        )

    def _start_application(self, device: str) -> None:
        self._stage.start(
            f"{device}-application",
            *("primum-sim", "application"),
            *("--state", f"{device}/state", "--output", f"{device}/outputs.jsonl"),
        )

    def _explain(self, device: str, version: str, when: str) -> dict[str, Any]:
        """Ask the device for the verdict that it acted on, and keep it for the report."""
        words = ("primum-agent", "explain", "--state", f"{device}/state", version)
        self._stage.run(*words, quiet=False)
        told = self._stage.run(*words, "--json", quiet=True).json
        verdict: dict[str, Any] = told.get("verdict", told)
        self._verdicts.append({"device": device, "when": when, "verdict": verdict})
        return verdict

    def _standing(self, device: str) -> dict[str, Any]:
        path = self._folder / device / "state" / "run" / "standing.json"
        found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return found

    def _outputs(self, device: str, kind: str, **members: object) -> list[dict[str, Any]]:
        path = self._folder / device / "outputs.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        return [
            item
            for item in told
            if item["output"] == kind
            and all(item.get(name) == value for name, value in members.items())
        ]

    def _wait_for_outputs(self, device: str, kind: str, **members: object) -> list[dict[str, Any]]:
        return self._stage.until(
            lambda: self._outputs(device, kind, **members) or None,
            what=f"the application of {device} to say {kind} {members}",
        )

    # --- the scenes ------------------------------------------------------------------------

    def _authorities(self) -> str:
        stage = self._stage
        stage.say("The data scientists hand over a folder for each version of the model.")
        stage.run("primum-sim", "data", "releases", "model")
        for name, peer in (("engineering", "clinical"), ("clinical", "engineering")):
            self._repo("init", name, "--authority", name, "--peer", f"{peer}/web")
        stations = []
        for station in ("station-1", "station-2"):
            self._repo("device", "key", station)
            stations += ["--provisioning-key", f"{station}/provisioning.public.json"]
        for name in ("engineering", "clinical"):
            self._repo("authority", "create", name, *stations, quiet=False)
        for person, printed, function in PEOPLE:
            words = ("person", "add", "clinical", "--id", person, "--name", printed)
            self._repo(*words, "--function", function, "--output", f"people/{person}")
        stage.say("Two plain web roots are served; nothing in them is secret.")
        for name, port in self._ports.items():
            stage.start(
                f"web-{name}",
                *("python", "-m", "http.server", str(port), "--bind", "127.0.0.1"),
                *("--directory", f"{name}/web"),
            )
        self._provision(FIRST)
        return (
            "engineering and clinical each have a root of 3 keys, threshold 2; three people may "
            f"approve; {FIRST} pins both roots"
        )

    def _first_release(self) -> str:
        stage = self._stage
        self._build("1.0.0")
        self._sign_and_publish("1.0.0")
        self._make_eligible("1.0.0")
        self._roll_out("1.0.0")
        stage.run(
            *("primum-verify", "release", COMPONENT, "1.0.0"),
            *("--provisioning", f"{FIRST}/provisioning"),
            *("--engineering", "engineering/web", "--clinical", "clinical/web"),
        )
        self._start_device(FIRST)
        self._start_application(FIRST)
        subject = f"{COMPONENT} 1.0.0"
        stage.wait_for_event(FIRST, "selftest.passed", subject=subject)
        stage.wait_for_event(FIRST, "update.activated", subject=subject)
        stage.wait_for_event(FIRST, "update.committed", subject=subject)
        self._explain(FIRST, "1.0.0", "before it was activated")
        shutil.copytree(self._folder / "engineering" / "web" / "metadata", self._attic)
        return f"{FIRST} committed 1.0.0 after the application had proven its health"

    def _application(self) -> str:
        marked = self._wait_for_outputs(FIRST, "beat", version="1.0.0", decision="pvc")
        self._stage.say(json.dumps(marked[0]))
        beats = self._outputs(FIRST, "beat", version="1.0.0")
        stamped = [beat for beat in beats if beat["statement"] and beat["release"]]
        if len(stamped) != len(beats):
            raise _otherwise("an output without release or eligibility", "every output stamped")
        return f"{len(beats)} beats so far, {len(marked)} marked premature; each output is stamped"

    def _better_release(self) -> str:
        self._build("1.1.0", "1.0.0")
        self._compare("1.1.0", "1.0.0")
        self._sign_and_publish("1.1.0")
        self._make_eligible("1.1.0")
        self._roll_out("1.1.0")
        self._stage.wait_for_event(FIRST, "update.committed", subject=f"{COMPONENT} 1.1.0")
        self._wait_for_outputs(FIRST, "beat", version="1.1.0")
        self._explain(FIRST, "1.1.0", "before it was activated")
        self._stage.say("A sibling, 1.1.1, gains AUC. Is it better?")
        self._build("1.1.1", "1.1.0", "1.0.0")
        told = self._compare("1.1.1", "1.1.0", expect=1)
        if "sensitivity" not in told:
            raise _otherwise("a refusal that does not name sensitivity", "the endpoint by name")
        return "1.1.0 serves; 1.1.1 is refused by the comparison: it loses sensitivity"

    def _not_eligible(self) -> str:
        self._build("1.2.0", "1.1.0", "1.0.0")
        self._compare("1.2.0", "1.1.0")
        self._sign_and_publish("1.2.0")
        self._stage.say("Clinical, quality and regulatory have said nothing yet.")
        self._roll_out("1.2.0")
        event = self._stage.wait_for_event(FIRST, "update.staged", subject=f"{COMPONENT} 1.2.0")
        verdict = self._explain(FIRST, "1.2.0", "when it was staged")
        found = {check["name"]: check["found"] for check in verdict["checks"]}
        if self._standing(FIRST)["version"] != "1.1.0":
            raise _otherwise("1.1.0 no longer serves", "1.1.0 serves")
        reasons = ", ".join(event["data"]["reasons"])
        return f"1.2.0 lies on the device, inactive: {reasons}; approvals {found['approvals']}"

    def _broken_release(self) -> str:
        stage = self._stage
        self._build("1.3.0", "1.1.0", "1.0.0")
        stage.say("It was validated; then its export went wrong. The comparison cannot see that.")
        self._compare("1.3.0", "1.1.0")
        self._repo("release", "sign", "engineering", COMPONENT, "1.3.0")
        self._repo("publish", "engineering", expect=1, quiet=False)
        stage.say("Somebody forces it. The flag is logged and shown for ever.")
        self._repo("publish", "engineering", "--unsafe-publish-failing-selftest", quiet=False)
        self._make_eligible("1.3.0")
        self._roll_out("1.3.0")
        event = stage.wait_for_event(FIRST, "selftest.failed", subject=f"{COMPONENT} 1.3.0")
        self._explain(FIRST, "1.3.0", "after its self-test on the device")
        stage.run("primum-agent", "history", "--state", f"{FIRST}/state", "--last", "3")
        if self._standing(FIRST)["version"] != "1.1.0":
            raise _otherwise("1.1.0 no longer serves", "1.1.0 serves")
        return f"1.1.0 stays; the device reports {_failing(event)}"

    def _attacks(self) -> str:
        stage = self._stage
        stage.say(f"A second device, {SECOND}, is to get 1.0.0; a mirror flips one bit on the way.")
        self._provision(SECOND)
        self._roll_out("1.0.0", "--ring", "second", "--devices", SECOND)
        artifact = self._model_artifact("1.0.0")
        whole = artifact.read_bytes()
        artifact.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        self._start_device(SECOND)
        self._start_application(SECOND)
        stage.wait_for_event(SECOND, "update.refused", reason="artifact.digest")
        artifact.write_bytes(whole)
        stage.say("The mirror is mended; the device takes it by itself.")
        stage.wait_for_event(SECOND, "update.committed", subject=f"{COMPONENT} 1.0.0")

        stage.say("A mirror replays the engineering repository as it was after 1.0.0.")
        metadata = self._folder / "engineering" / "web" / "metadata"
        today = metadata.with_name("metadata.today")
        metadata.rename(today)
        shutil.copytree(self._attic, metadata)
        stage.wait_for_event(FIRST, "trust.refused", reason="trust.rollback")
        shutil.rmtree(metadata)
        today.rename(metadata)
        stage.wait_for_event(FIRST, "repositories.reached")

        stage.say("A timestamp with a life of seconds, and then a mirror that freezes.")
        life = f"{_FROZEN_LIFE_SECONDS}s"
        self._repo("authority", "refresh", "engineering", "--timestamp-life", life, quiet=False)
        stage.wait_for_event(FIRST, "trust.refused", reason="trust.expired")
        stage.run(
            *("primum-agent", "check", "--state", f"{FIRST}/state"),
            *("--provisioning", f"{FIRST}/provisioning"),
            expect=EXIT_REFUSED,
            again_on=EXIT_BUSY,
        )
        self._repo("authority", "refresh", "engineering", quiet=False)
        stage.wait_for_event(FIRST, "repositories.reached")
        return "artifact.digest, trust.rollback, trust.expired; what served went on serving"

    def _power_cut(self) -> str:
        stage = self._stage
        stage.say(f"{SECOND} runs 1.0.0 and is to get 1.1.0; its power fails twice on the way.")
        stage.stop(f"{SECOND}-agent")
        self._roll_out("1.1.0", "--ring", "second", "--devices", SECOND)
        before = self._cut_at("activating.before-switch")
        after = self._cut_at("activating.after-switch")
        if (before, after) != ("1.0.0", "1.1.0"):
            raise _otherwise(f"{before}, then {after}", "1.0.0 before the switch, 1.1.0 after it")
        self._start_device(SECOND)
        stage.wait_for_event(SECOND, "update.committed", subject=f"{COMPONENT} 1.1.0")
        self._wait_for_outputs(SECOND, "beat", version="1.1.0")
        return (
            f"cut before the switch: exactly {before}; cut after it: exactly {after}; "
            "then it converged and committed 1.1.0"
        )

    def _cut_at(self, point: str) -> str:
        """Start the second device, let SIGKILL end it at a named point, and read the disk."""
        name = f"{SECOND}-agent"
        self._start_device(SECOND, PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=point)
        self._stage.until(
            lambda: True if self._stage.has_ended(name) else None,
            what=f"the agent of {SECOND} to be killed at {point}",
        )
        self._stage.kill(name)
        active = (self._folder / SECOND / "state" / "active").resolve()
        manifest = json.loads((active / "manifest.json").read_bytes())
        for item in manifest["items"]:
            found = hashlib.sha256((active / item["path"]).read_bytes()).hexdigest()
            if found != item["digest"]["sha256"]:
                raise _otherwise(f"{item['path']} is damaged", "a whole generation")
        version: str = manifest["bundle"]["version"]
        self._stage.say(f"On the disk: active -> {active.name}, which is {version}, whole.")
        return version

    def _withdrawals(self) -> str:
        stage = self._stage
        signers = ("--as", "people/a.berg", "--as", "people/q.lee", "--yes")
        words = ("withdraw", "clinical", "--component", COMPONENT, "--version")
        why = ("--reason", "Misses beats in bigeminy", "--hazard", "HAZ-03")
        self._repo(*words, "1.1.0", *why, *signers, quiet=False)
        for device in (FIRST, SECOND):
            stage.wait_for_event(device, "eligibility.lost", reason="eligibility.withdrawn")
            stage.wait_for_event(device, "update.rolled-back", subject=f"{COMPONENT} 1.0.0")
        self._wait_for_outputs(FIRST, "opened", version="1.0.0")
        self._explain(FIRST, "1.1.0", "when it was withdrawn")
        self._repo(*words, "1.0.0", *why, *signers, quiet=False)
        for device in (FIRST, SECOND):
            stage.wait_for_event(device, "safe-mode.entered")
        told = stage.until(
            lambda: next(
                (
                    item
                    for item in self._outputs(FIRST, "safe-mode")
                    if {"eligibility.withdrawn", "fallback.none"} <= set(item["reasons"])
                ),
                None,
            ),
            what=f"the application of {FIRST} to be told that no release is left",
        )
        stage.run("primum-agent", "status", "--state", f"{FIRST}/state", expect=1)
        self._prove_histories()
        return f"fell back to 1.0.0, then safe mode; the application was told: {told['notice']}"

    # --- small parts of scenes -------------------------------------------------------------

    def _model_artifact(self, version: str) -> Path:
        manifest = self._folder / "engineering" / "releases" / COMPONENT / version / "manifest.json"
        items = json.loads(manifest.read_bytes())["items"]
        digest = next(item["digest"]["sha256"] for item in items if item["kind"] == "model")
        return self._folder / "engineering" / "web" / "artifacts" / str(digest)

    def _prove_histories(self) -> None:
        """What the subscriber received is proven from each device's public key alone."""
        for device in (FIRST, SECOND):
            subscriber = self._stage.subscriber
            self._stage.until(
                partial(subscriber.proven_head, device), what=f"the signed head of {device}"
            )
            lines = subscriber.lines(device)
            received = self._folder / device / "received.jsonl"
            received.write_bytes(b"".join(line + b"\n" for line in lines))
            self._stage.run(
                *("primum-verify", "history", f"{device}/received.jsonl"),
                *("--device-key", f"{device}/provisioning/device-context.dsse.json"),
            )


def _failing(event: dict[str, Any]) -> str:
    """Which fixtures failed the self-test and by how much, in the device's own words."""
    summary: str = event["data"]["detail"]["summary"]
    return summary


def _otherwise(found: str, expected: str) -> FailedError:
    return FailedError(
        "The story did not end as promised.",
        reason=Reason.INTERNAL,
        where="demo",
        found=found,
        expected=expected,
    )


def _row(act: Act, scene: Scene) -> dict[str, str]:
    return {
        "key": act.key,
        "promised": act.promised,
        "seen": scene.outcome,
        "seconds": f"{scene.seconds:.0f}",
    }
