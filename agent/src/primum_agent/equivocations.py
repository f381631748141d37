"""Versions that were signed with two contents: an alarm for each, once, and nothing else.

The proofs are kept with the trusted views.  They block nothing: what is trusted stays trusted, and
whoever holds a stolen key must not be able to stop a device by signing a version twice.
"""

from __future__ import annotations

import json

from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE
from primum_verifier.shell.tuf_equivocation import read_proof

TOLD = "equivocations-told"
"""The counter that holds the names of the proofs that were reported, as a JSON list."""


def tell_equivocations(device: Device) -> None:
    """Report each proof that the trust stores hold and that was not reported before."""
    told: list[str] = json.loads(device.journal.counter(TOLD, "[]"))
    kept = []
    for authority in (ENGINEERING, CLINICAL, SITE):
        for name, proof in sorted(device.proofs(authority).items()):
            known = f"{authority}/{name}"
            kept.append(known)
            if known not in told:
                _report(device, authority, proof)
    if kept != told:
        # Names of proofs that are gone make room: the stores bound how many there are.
        device.journal.set_counters(equivocations_told=json.dumps(kept))


def _report(device: Device, authority: str, proof: bytes) -> None:
    found = read_proof(proof)
    error = found.error(authority)
    device.journal.record(
        Entry(
            kind=EventKind.TRUST_REFUSED,
            attempt=device.attempt,
            result="refused",
            reasons=(str(error.reason),),
            detail={
                "authority": authority,
                "role": found.role,
                "version": found.version,
                "contradiction": str(found.kind),
                "proof": sha256_hex(proof),
                **error.as_dict(),
            },
        )
    )
