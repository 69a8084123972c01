"""What is on record for a workflow's threads.  (layer 14)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost import _claim, state
from milepost._declared import Declared, I, R
from milepost._run import finished_at, pending, returned
from milepost._twin import twin
from milepost.checkpoint import Status
from milepost.errors import NoCheckpointer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milepost._inject import RunnableConfig
    from milepost.checkpoint import Checkpointer
    from milepost.state import StateSnapshot


class States(Declared[I, R]):
    """The part of a workflow that looks at threads."""

    def get_state(
        self, config: RunnableConfig | Mapping[str, Any] | None = None, *, thread_id: str | None = None
    ) -> StateSnapshot:
        """Return what is on record for a thread: status, tasks and pending questions of its newest run, last result.

        For a thread nobody has started, an empty snapshot with status None.

        Raises:
            NoCheckpointer: nothing is kept for this workflow.
            MissingThreadId: no thread id was given.
        """
        place = self._place(config, thread_id)
        if place.checkpointer is None or place.thread is None:
            raise NoCheckpointer(f"workflow {self.name!r} has no checkpointer, so nothing is on record")
        head = place.checkpointer.load_head(place.thread)
        thread = _claim.read_thread(place.checkpointer, place.thread, head)
        run = thread.run
        config_of = {"configurable": {"thread_id": place.thread}}
        if run is None:
            return state.StateSnapshot(values=None, next=(), config=config_of)
        config_of["configurable"]["checkpoint_id"] = run.id
        interrupts = pending(run)
        position = _claim.last_finished(thread)
        values = None
        if position is not None:
            values = _last_result(place.checkpointer, place.thread, position, self._step.returns)
        over = run.status in (Status.DONE, Status.ABANDONED, Status.CANCELLED)
        failed = run.failed if run.status is Status.FAILED else None
        return state.StateSnapshot(
            values=values,
            next=() if over else (run.started.workflow,),
            config=config_of,
            status=run.status,
            created_at=run.started.at,
            tasks=state.tasks(run, interrupts),
            interrupts=interrupts,
            error=None if failed is None else f"{failed.error.type}: {failed.error.message}",
            owner=None if head is None else head.owner,
        )

    aget_state = twin(get_state)


def _last_result(checkpointer: Checkpointer, thread: str, position: int, declared: Any) -> Any:
    found = finished_at(checkpointer, thread, position)
    return None if found is None else returned(checkpointer, thread, found, declared)
