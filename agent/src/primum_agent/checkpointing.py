"""Sign a checkpoint over the journal's oldest events, and prune them: in short-lived children only.

The chain up to the checkpoint is checked again before it is signed: a key never signs over events
that are not those that were recorded.
"""

from __future__ import annotations

from primum_agent.clock import Clock, plain_time
from primum_agent.journal import AGENT_VERSION, Journal
from primum_agent.journal_chain import Checkpoint
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.signer import Signer
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE, ChainCheckpoint

CHECKPOINT_TYPE = "urn:primum:chain-checkpoint:v0.1"
_TOPIC = "pruning"


def prune(journal: Journal, *, signer: Signer, device_id: str, clock: Clock) -> int:
    """Prune what is due, under a checkpoint signed for it; one look where nothing is.

    Returns:
        How many events were pruned.

    Raises:
        DamagedJournalError: the chain is not what was recorded; nothing was signed or pruned.
        FailedError: the storage did not take it; nothing was pruned.
    """
    upto = journal.prunable_to()
    if not upto:
        return 0
    draft = journal.draft_checkpoint(upto)
    line = checkpoint_over(draft, signer=signer, device_id=device_id, clock=clock)
    return journal.prune(draft, line=line, key=signer.public_key().key_id)


def checkpoint_over(draft: Checkpoint, *, signer: Signer, device_id: str, clock: Clock) -> bytes:
    """A signed checkpoint, as one line.

    Raises:
        FailedError: the key cannot be used.
    """
    payload = canonical_json(
        {
            "type": CHECKPOINT_TYPE,
            "deviceId": device_id,
            "firstSequence": draft.first_sequence,
            "sequence": draft.sequence,
            "eventHash": draft.hash,
            "state": draft.state,
            "agentVersion": AGENT_VERSION,
            "signedAt": plain_time(clock.now()),
        }
    )
    # What no verifier would read must not take the place of events.
    parse_document(ChainCheckpoint, payload, where="checkpoint")
    return signer.envelope(payload, payload_type=CHECKPOINT_PAYLOAD_TYPE)


def prune_and_tell(journal: Journal, *, signer: Signer, device_id: str, clock: Clock) -> None:
    """Prune what is due; what keeps it from being done is a lasting trouble, shown by status.

    Damage is remembered, so that the next start checks the journal whole and sets it aside.
    """
    try:
        prune(journal, signer=signer, device_id=device_id, clock=clock)
    except DamagedJournalError as error:
        journal.note_damage(error)
    except PrimumError as error:
        journal.note_problem(topic=_TOPIC, what=str(error.reason), text=error.for_people())
    else:
        journal.clear_problem(_TOPIC)
