"""Reading journals afterwards: who wrote what, and whether he was allowed to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from milepost._fold import ThreadState
from milepost.checkpoint import Claimed, Outcome, Resumed, Retried, Started, Written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from milepost.checkpoint import Checkpointer

_CLAIMS = (Started, Claimed, Resumed, Retried)


@dataclass
class Audit:
    """What journals hold."""

    batches: int = 0
    takeovers: int = 0
    wrong: list[str] = field(default_factory=list)


def audited(checkpointer: Checkpointer, threads: Iterable[str]) -> Audit:
    """Read the journals of these threads.

    Each batch must be of the session of the last claim up to and with it: a former owner that was thawed has written
    nothing. Nothing may have been rejected by the fold, and no call may have two outcomes, no custom event two records.
    """
    found = Audit()
    for thread in threads:
        state, session, seen = ThreadState(thread), None, set[tuple]()
        for position, batch in checkpointer.read(thread):
            found.batches += 1
            claims = [record for record in batch.records if isinstance(record, _CLAIMS)]
            if claims:
                found.takeovers += any(isinstance(claim, Claimed) and claim.died for claim in claims)
                session = claims[-1].owner.session
            if batch.session != session:
                found.wrong.append(
                    f"{thread}: batch {position} is of {batch.session}, and the owner is {session}"
                )
            for record in batch.records:
                key = _key(record)
                if key is not None and key in seen:
                    found.wrong.append(f"{thread}: {key} is on record twice, again at {position}")
                seen.add(key) if key is not None else None
            state.apply(position, batch)
        found.wrong += [f"{thread}: rejected at {position}: {reason}" for position, reason in state.rejected]
    return found


def _key(record: object) -> tuple | None:
    if isinstance(record, Outcome):
        return "outcome", record.call
    return ("custom event", record.call, record.number) if isinstance(record, Written) else None
