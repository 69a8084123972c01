"""The rules of the journal as switches: each can be dropped, to see what it is there for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace


def _rule(number: str, text: str) -> bool:
    return field(default=True, metadata={"number": number, "text": text})


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which rules are kept; all of them, unless dropped."""

    started_is_existence: bool = _rule(
        "1", "a run exists, and is told to exist, when its `started` is in the journal"
    )
    id_from_position: bool = _rule("1", "a run's id derives from the position of its `started`")
    closes_predecessor: bool = _rule("2", "`started` stands in one batch with what closes its predecessor")
    wakes_head_first: bool = _rule("3", "waking sets the head first, then appends")
    rests_journal_first: bool = _rule("3", "resting appends first, then lowers the head")
    claims_before_lowering: bool = _rule(
        "4", "a running head is lowered only after a claim at the journal's tail"
    )
    decides_again: bool = _rule(
        "5", "after a conflict, read and decide again; never just try the next position"
    )
    knows_own_batch: bool = _rule("5", "one's own batch at the position means that it was applied")
    pruned_is_unknown: bool = _rule(
        "5", "what was sent before, and can no longer be seen, is neither applied nor refused"
    )
    one_in_flight: bool = _rule(
        "6", "one append is in flight per owner; nothing is sent past an unknown answer"
    )
    frozen_bytes: bool = _rule("6", "what is sent again is what was sent first")
    resumed_claims: bool = _rule("7", "`resumed` carries its claim in the same batch")
    rejects_illegal: bool = _rule("7", "a record that is illegal where it stands is rejected by every reader")
    knows_own_head: bool = _rule(
        "8", "a compare-and-set of the head whose answer was lost is recognised by its nonce"
    )
    renewal_looks: bool = _rule("8", "a renewal that fails means: read the head again")
    versions_never_return: bool = _rule(
        "8", "a compare-and-set from before a deletion matches no head after it"
    )
    keeps_stubs: bool = _rule("9", "pruning keeps positions where ownership changed occupied")
    waker_reads_back: bool = _rule(
        "9", "who has taken the thread reads the batch back: below the floor nobody knows"
    )
    newest_stays: bool = _rule("9", "only closed runs are pruned, and never the newest")
    previous_stays: bool = _rule("9", "the result that the newest run began from is not pruned")
    leaves_tombstone: bool = _rule(
        "9", "deleting takes the tail with a tombstone, or the tail with the rest at once"
    )
    positions_never_return: bool = _rule(
        "9", "positions go on after a deletion, also where the tail is checked"
    )
    deletion_keeps_stubs: bool = _rule("9", "deleting keeps positions where ownership changed occupied")
    deletes_own_head_only: bool = _rule(
        "9", "deleting removes the head only at the version at which it took it"
    )
    stops_at_gap: bool = _rule("10", "readers stop at the first gap")
    journal_decides: bool = _rule("10", "what to do is decided from the journal; the head is a hint")
    unknown_is_unknown: bool = _rule(
        "11", "a time-out is neither taken nor failed: the identical bytes are sent again"
    )

    def without(self, *names: str) -> Rules:
        """Return these rules with some dropped."""
        return replace(self, **dict.fromkeys(names, False))


NAMES = tuple(rule.name for rule in fields(Rules))


def describe(name: str) -> str:
    """Return a rule in words."""
    (found,) = (rule.metadata for rule in fields(Rules) if rule.name == name)
    return f"rule {found['number']}: {found['text']}"
