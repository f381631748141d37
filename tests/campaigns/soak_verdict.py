"""What a receiver holds, against what the devices' own journals say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from primum_verifier.core.envelope import PublicKey
from primum_verifier.record.chain import check_history


@dataclass(frozen=True)
class Verdict:
    """How one device came out.

    Attributes:
        device: whose.
        sent: events of its journal.
        received: of these the receiver holds.
        lost: numbers of those it does not.
        duplicated: held more than once.
        invented: held, and never written.
        disordered: not joined to the one before, or not proven by the device's key.
        faults: what else is wrong with the chain.
    """

    device: str
    sent: int
    received: int
    lost: tuple[int, ...] = ()
    duplicated: tuple[int, ...] = ()
    invented: tuple[int, ...] = ()
    disordered: tuple[int, ...] = ()
    faults: tuple[str, ...] = field(default=())

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept."""
        wrong = (self.lost, self.duplicated, self.invented, self.disordered, self.faults)
        return not any(wrong) and self.sent == self.received

    def told(self) -> str:
        """One line."""
        return (
            f"{self.device}: sent {self.sent}, received {self.received}, lost {len(self.lost)}, "
            f"duplicated {len(self.duplicated)}, invented {len(self.invented)}"
        )


def judge(
    device: str,
    *,
    lines: list[bytes],
    history: list[bytes],
    rows: list[tuple[int, str, bytes, int, int]],
    key: PublicKey,
) -> Verdict:
    """Compare a journal with a receiver's rows.

    Args:
        device: whose they are.
        lines: the events of its journal, in order.
        history: all that an export of it would hold, with the heads.
        rows: number, hash, bytes, joined and proven of what the receiver holds.
        key: the device's.
    """
    written = {int(json.loads(line)["sequence"]): line for line in lines}
    held: dict[int, list[bytes]] = {}
    for number, _, line, _, _ in rows:
        held.setdefault(number, []).append(line)
    report = check_history(history, device_key=key)
    faults = [] if report.whole and not report.gaps else ["the journal's own chain is not whole"]
    return Verdict(
        device=device,
        sent=len(written),
        received=sum(line in held.get(number, ()) for number, line in written.items()),
        lost=tuple(number for number, line in written.items() if line not in held.get(number, ())),
        duplicated=tuple(number for number, found in held.items() if len(found) > 1),
        invented=tuple(
            number
            for number, found in held.items()
            for line in found
            if written.get(number) != line
        ),
        disordered=tuple(
            number for number, _, _, joined, proven in rows if not joined or not proven
        ),
        faults=tuple(faults),
    )
