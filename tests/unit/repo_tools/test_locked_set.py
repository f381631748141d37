"""The locked test set: counted, bound, and refused by name when worn out or changed by one byte."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from primum_repo_tools.cli import main
from primum_repo_tools.keys import Secrets, create_key
from primum_repo_tools.locked_set import LEDGER_FILE, REPORTS_FOLDER, held
from primum_verifier.change.test_set_ledger import read_ledger

DATA = Path(__file__).parent / "data"
POINTS = [
    item for arm in ("candidate", "last", "original") for item in ("--threshold", f"{arm}=0.5")
]
PASSPHRASE = "correct horse battery"  # noqa: S105 - of keys that live for one test


@dataclass
class Bench:
    """A locked set with its keeper, and somebody who compares on it."""

    folder: Path
    capture: Any

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def protocol(self) -> Path:
        return self.folder / "protocol.toml"

    def run(self, *words: object) -> tuple[int, Any]:
        """The exit code, and the answer or the error."""
        self.capture.readouterr()
        code = main([*map(str, words), "--json"])
        said = self.capture.readouterr()
        text = said.out or said.err
        if code != 0:
            text = said.err[said.err.index('{"error"') :]
        return code, json.loads(text)

    def keeper(self, name: str = "q.lee") -> Path:
        folder = self.folder / "people" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "person.toml").write_text(
                f'schema_version = "0.1"\nperson_id = "{name}"\nprinted_name = "{name}"\n'
                'function = "quality"\n'
            )
            create_key(folder / "key.pem", secrets=Secrets(prompt=None))
        return folder

    def lock(self, cases: Path, *more: object, uses: int = 3) -> Any:
        return self.run(
            "test-set", "lock", self.ledger, "--id", "locked-5", "--cases", cases,
            "--uses", uses, "--as", self.keeper(), *more,
        )  # fmt: skip

    def bind(self, **changes: object) -> None:
        """Write the protocol that is bound to the set, as `test-set show` says."""
        _, shown = self.run("test-set", "show", self.ledger)
        bound = shown["testSet"] | changes
        text = (DATA / "protocol-demonstration.toml").read_text()
        table = (
            f'\n[test_set]\nid = "{bound["id"]}"\nledger = "{bound["ledger"]}"\n'
            f'cases = {{ sha256 = "{bound["cases"]["sha256"]}" }}\n'
            f"uses_allowed = {bound['usesAllowed']}\n"
        )
        self.protocol.write_text(text + table)

    def freeze(self, person: Path | None = None) -> tuple[int, Any]:
        return self.run(
            "test-set", "freeze", self.ledger, self.protocol, "--as", person or self.keeper()
        )

    def compare(self, candidate: Path, baseline: Path, *more: object) -> tuple[int, Any]:
        return self.run(
            "compare", "--candidate", candidate, "--last", baseline, "--original", baseline,
            "--protocol", self.protocol, "--ledger", self.ledger, "--as", self.keeper(),
            *POINTS, *more,
        )  # fmt: skip

    @property
    def uses(self) -> int:
        data = (self.ledger / LEDGER_FILE).read_bytes()
        return len(read_ledger(data, where="ledger").uses)

    @property
    def reports(self) -> list[Path]:
        return sorted((self.ledger / REPORTS_FOLDER).glob("*.json"))


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
    return Bench(tmp_path, capsys)


@pytest.fixture
def locked(bench: Bench, make_predictions: Any) -> tuple[Bench, Path]:
    """A set of eight patients, locked for three uses, with a protocol frozen in its ledger."""
    cases = make_predictions(bench.folder / "base.npz")
    assert bench.lock(cases)[0] == 0
    bench.bind()
    assert bench.freeze()[0] == 0
    return bench, cases


def test_a_use_is_recorded_before_the_comparison_and_its_report_is_kept(
    locked: tuple[Bench, Path],
) -> None:
    bench, base = locked
    code, report = bench.compare(base, base)
    assert code == 0
    use = report["analysis"]["testSet"]
    assert (use["id"], use["useNumber"], use["usesAllowed"]) == ("locked-5", 1, 3)
    _, shown = bench.run("test-set", "show", bench.ledger)
    acts = [
        next(k for k in ("locked", "frozen", "used", "reported") if item[k] is not None)
        for item in shown["entries"]
    ]
    assert acts == ["locked", "frozen", "used", "reported"]
    assert [path.stem for path in bench.reports] == [
        shown["entries"][3]["reported"]["report"]["sha256"]
    ]


def test_a_failed_report_is_kept_like_any_other(
    locked: tuple[Bench, Path], make_predictions: Any
) -> None:
    bench, base = locked
    worse = make_predictions(bench.folder / "worse.npz", flip_positives=60)
    code, error = bench.compare(worse, base)
    assert (code, error["error"]["reason"]) == (1, "validation.not-met")
    assert json.loads(bench.reports[0].read_bytes())["overall"] == "not-met"
    bench.reports[0].unlink()
    code, error = bench.run("test-set", "show", bench.ledger)
    assert (code, error["error"]["reason"]) == (1, "validation.ledger")
    assert "the report on use 1" in error["error"]["found"]


def test_a_test_set_used_too_often_is_refused_by_name(
    locked: tuple[Bench, Path], make_predictions: Any
) -> None:
    bench, base = locked
    for number in range(3):
        other = make_predictions(bench.folder / f"{number}.npz", flip_negatives=number)
        assert bench.compare(other, base)[0] == 0
    fourth = make_predictions(bench.folder / "4.npz", flip_negatives=4)
    code, error = bench.compare(fourth, base)
    assert (code, error["error"]["reason"]) == (1, "validation.test-set")
    assert error["error"]["where"].startswith("locked-5 in ")
    assert (error["error"]["found"], bench.uses) == ("3 uses", 3)


def test_a_protocol_may_allow_fewer_uses_than_the_set(bench: Bench, make_predictions: Any) -> None:
    base = make_predictions(bench.folder / "base.npz")
    bench.lock(base, uses=5)
    bench.bind(usesAllowed=1)
    bench.freeze()
    assert bench.compare(base, base)[0] == 0
    code, error = bench.compare(base, base, "--repeat-reason", "the disk was full")
    assert (code, error["error"]["expected"]) == (1, "fewer than 1")


@pytest.mark.parametrize(
    ("array", "spoil"),
    [
        ("label", lambda a: a.__setitem__(7, 1 - a[7])),
        ("patient", lambda a: a.__setitem__(7, "p99")),
        ("cohort", lambda a: a.__setitem__(7, "male")),
    ],
)
def test_a_test_set_changed_by_one_value_is_refused_and_costs_no_use(
    locked: tuple[Bench, Path], array: str, spoil: Any
) -> None:
    bench, base = locked
    arrays = dict(np.load(base))
    spoil(arrays[array])
    changed = bench.folder / "changed.npz"
    np.savez(changed, **arrays)
    code, error = bench.compare(changed, changed)
    assert (code, error["error"]["reason"]) == (1, "validation.test-set")
    assert (bench.uses, bench.reports) == (0, [])


def test_a_file_of_the_set_changed_by_one_byte_is_named(
    bench: Bench, make_predictions: Any
) -> None:
    base = make_predictions(bench.folder / "base.npz")
    data = bench.folder / "recordings"
    (data / "a").mkdir(parents=True)
    (data / "a" / "100.dat").write_bytes(b"signal of patient 100")
    (data / "101.dat").write_bytes(b"signal of patient 101")
    bench.lock(base, "--data", data)
    bench.bind()
    bench.freeze()
    assert bench.compare(base, base)[0] == 2
    assert bench.compare(base, base, "--data", data)[0] == 0
    (data / "a" / "100.dat").write_bytes(b"signal of patient 10O")
    code, error = bench.compare(base, base, "--data", data, "--repeat-reason", "again")
    assert (code, error["error"]["reason"]) == (1, "validation.test-set")
    assert error["error"]["where"].endswith("a/100.dat")
    (data / "a" / "100.dat").unlink()
    assert bench.compare(base, base, "--data", data, "--repeat-reason", "again")[0] == 1
    assert bench.uses == 1


def test_a_protocol_that_was_not_frozen_before_compares_nothing(
    locked: tuple[Bench, Path],
) -> None:
    """A margin that is moved after the protocol was frozen makes it another protocol."""
    bench, base = locked
    bench.protocol.write_text(
        bench.protocol.read_text().replace('sensitivity = "0.05"', 'sensitivity = "0.20"')
    )
    code, error = bench.compare(base, base)
    assert (code, error["error"]["reason"]) == (1, "validation.protocol")
    assert bench.uses == 0


def test_the_same_run_again_needs_a_reason_which_is_kept(locked: tuple[Bench, Path]) -> None:
    bench, base = locked
    assert bench.compare(base, base)[0] == 0
    code, error = bench.compare(base, base)
    assert (code, error["error"]["reason"]) == (1, "validation.protocol")
    assert bench.uses == 1
    why = "the first run was read from the wrong folder"
    code, report = bench.compare(
        base, base, "--repeat-reason", why, "--deviation", "one reader instead of two: ill"
    )
    use = report["analysis"]["testSet"]
    assert (code, use["repeats"], use["repeatReason"]) == (0, 1, why)
    assert report["analysis"]["deviations"] == ["one reader instead of two: ill"]
    _, shown = bench.run("test-set", "show", bench.ledger)
    assert shown["entries"][4]["used"]["deviations"] == ["one reader instead of two: ill"]


def test_a_use_taken_off_the_end_is_missed_by_its_report(locked: tuple[Bench, Path]) -> None:
    bench, base = locked
    bench.compare(base, base)
    path = bench.ledger / LEDGER_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    code, error = bench.run("test-set", "show", bench.ledger)
    assert (code, error["error"]["reason"]) == (1, "validation.ledger")
    assert "missing: the use" in error["error"]["found"]


def test_only_the_keeper_writes_and_further_keepers_are_named_at_the_beginning(
    bench: Bench, make_predictions: Any
) -> None:
    base = make_predictions(bench.folder / "base.npz")
    second, stranger = bench.keeper("a.berg"), bench.keeper("x.doe")
    bench.lock(base, "--custodian", second / "key.public.json")
    bench.bind()
    before = (bench.ledger / LEDGER_FILE).read_bytes()
    code, error = bench.freeze(stranger)
    assert (code, error["error"]["reason"]) == (1, "validation.ledger")
    assert error["error"]["found"].startswith("x.doe, key ")
    assert (bench.ledger / LEDGER_FILE).read_bytes() == before
    assert bench.freeze(second)[0] == 0
    assert bench.freeze()[1]["entries"][1]["by"] == "a.berg"


def test_a_ledger_is_never_begun_anew(locked: tuple[Bench, Path]) -> None:
    bench, base = locked
    before = (bench.ledger / LEDGER_FILE).read_bytes()
    assert bench.lock(base)[0] == 2
    assert (bench.ledger / LEDGER_FILE).read_bytes() == before


def test_another_ledger_of_the_same_set_does_not_count(locked: tuple[Bench, Path]) -> None:
    """Who wants more uses begins a ledger anew; the protocol names the first one."""
    bench, base = locked
    shutil.rmtree(bench.ledger)
    bench.lock(base, uses=30)
    code, error = bench.freeze()
    assert (code, error["error"]["reason"]) == (1, "validation.test-set")
    assert error["error"]["found"].startswith("ledger ")


def test_a_bound_protocol_needs_its_ledger_and_an_unbound_one_has_none(
    locked: tuple[Bench, Path],
) -> None:
    bench, base = locked
    arms = ["--candidate", base, "--last", base, "--original", base, *POINTS]
    code, error = bench.run("compare", *arms, "--protocol", bench.protocol)
    assert (code, error["error"]["expected"].split(",")[0]) == (2, "--ledger and --as")
    unbound = DATA / "protocol-demonstration.toml"
    code, _ = bench.run(
        "compare", *arms, "--protocol", unbound, "--ledger", bench.ledger, "--as", bench.keeper()
    )
    assert (code, bench.uses) == (2, 0)
    code, _ = bench.run("test-set", "freeze", bench.ledger, unbound, "--as", bench.keeper())
    assert code == 2


def test_two_at_once_are_busy(locked: tuple[Bench, Path]) -> None:
    bench, base = locked
    with held(bench.ledger):
        code, error = bench.compare(base, base)
    assert (code, error["error"]["reason"], bench.uses) == (4, "state.busy", 0)


def test_people_read_what_happened(locked: tuple[Bench, Path]) -> None:
    bench, base = locked
    bench.compare(base, base)
    bench.capture.readouterr()
    assert main(["test-set", "show", str(bench.ledger)]) == 0
    told = bench.capture.readouterr().out
    for words in ("800 cases of 8 patients", "use 1", "report on use 1", "1 uses of 3; 2 left"):
        assert words in told
