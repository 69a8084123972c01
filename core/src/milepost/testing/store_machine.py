"""Random histories of stores: whatever is asked in whatever order, a driver answers as the memory store does."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from milepost import _ids
from milepost.backend import Capability
from milepost.errors import Closed, MilepostError, VersionConflict
from milepost.memory import MemoryStore
from milepost.operations import GetOp, PutOp, SearchOp
from milepost.testing.store_place import HeldClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.items import Item
    from milepost.store import Store

SPACES = st.sampled_from([("a",), ("a", "b"), ("ab",), ("a", "b", "c"), ("a!",), ("\xe9",)])
KEYS = st.sampled_from(["k", "K", "k/2"])
FIELDS: dict[str, Any] = {
    "n": st.sampled_from([0, 1, 2, 2.0, 0.5, True, None, "1", 2**70]),
    "kind": st.sampled_from(["note", "task", "", "\U0001f98a", "$x"]),
    "deep": st.sampled_from([{"x": 1}, {"x": {"y": "z"}}, {}, [1], None]),
    "text": st.sampled_from(["Green tea", "green", "coffee, TEA", ""]),
}
VALUES = st.fixed_dictionaries({}, optional=FIELDS)
FILTERS: Any = st.sampled_from(
    [
        None,
        {},
        {"n": 1},
        {"n": {"$ne": 1}},
        {"n": {"$gt": 0, "$lte": 2}},
        {"n": {"$in": [2, None, "1"]}},
        {"kind": {"$gte": "note"}},
        {"kind": {"$exists": False}},
        {"deep": {"x": 1}},
        {"deep": {"x": {"y": {"$lt": "zz"}}}},
        {"deep": {"$eq": {}}},
        {"$or": [{"n": True}, {"$not": {"kind": "note"}}]},
        {"$and": [{"n": {"$exists": True}}, {"kind": "\U0001f98a"}]},
    ]
)
LIVES = st.sampled_from([None, None, 1, 3, timedelta(seconds=90)])
PREFIXES = SPACES | st.just(())


class StoreMachine(RuleBasedStateMachine):
    """Asks a driver and the model the same, and compares answers and errors.

    Versions are random at first, so both keep their own; what is compared is whether they change, and when. All lies
    below one label of the history's own. Subclasses set ``open_driver``, which opens a new driver on the same data at
    each call.
    """

    open_driver: ClassVar[Callable[[], Store]]
    taken: ClassVar[list[int]] = []
    """One entry for each step, after which all items were compared."""

    @initialize()
    def open_both(self) -> None:
        """Open the driver, and the model of it."""
        self.clock = HeldClock()
        self.model: Store = MemoryStore()
        self.model.clock = self.clock
        self.driver = self.opened()
        self.root = _ids.token()[:12]
        self.places: set[tuple[tuple[str, ...], str]] = set()

    def opened(self) -> Store:
        """Return a new driver on the same data, with the history's clock."""
        driver = type(self).open_driver()
        driver.clock = self.clock
        return driver

    def teardown(self) -> None:
        """Delete what this history made, and close."""
        if hasattr(self, "driver"):
            self.driver.batch([PutOp(space, key, None) for space, key in sorted(self.places)])
            self.driver.close()

    def place(self, space: tuple[str, ...], key: str) -> tuple[tuple[str, ...], str]:
        """Return a place of this history's own."""
        found = ((self.root, *space), key)
        self.places.add(found)
        return found

    def ask(self, what: Callable[[Store], Any], *, sort: bool = False) -> None:
        """Ask both, which give the same answer."""
        wanted, found = _answer(what, self.model, sort=sort), _answer(what, self.driver, sort=sort)
        assert found == wanted, "the driver answers differently from the model"

    def version(self, store: Store, place: tuple[tuple[str, ...], str], kind: str) -> int | None:
        """Return the condition of this kind for a store: each has versions of its own."""
        if kind == "none":
            return None
        if kind == "absent":
            return 0
        found = store.get(*place, refresh_ttl=False)
        now = 0 if found is None else found.version
        return now if kind == "right" else now + 1

    # -- writing -----------------------------------------------------------------------------------------------------

    @rule(
        space=SPACES,
        key=KEYS,
        value=VALUES,
        ttl=LIVES,
        condition=st.sampled_from(["none", "none", "right", "wrong", "absent"]),
        once=st.sampled_from([False, False, "one", "two"]),
        index=st.sampled_from([None, None, False, ["text"]]),
    )
    def put(self, space: Any, key: str, value: Any, ttl: Any, condition: str, once: Any, index: Any) -> None:  # noqa: PLR0913, PLR0917 - Hypothesis passes what it draws
        """Put an item, under a condition or not, for a while or for ever; the version changes if it was put."""
        place = self.place(space, key)
        before = {id(store): self.version(store, place, "right") for store in (self.model, self.driver)}

        def put(store: Store) -> bool:
            asked = self.version(store, place, condition)
            version = store.put(*place, value, index, ttl=ttl, if_version=asked, once=once)
            return version != before[id(store)]

        self.ask(put)

    @rule(space=SPACES, key=KEYS, condition=st.sampled_from(["none", "none", "right", "wrong"]))
    def delete(self, space: Any, key: str, condition: str) -> None:
        """Delete an item, under a condition or not."""
        place = self.place(space, key)
        self.ask(lambda store: store.delete(*place, if_version=self.version(store, place, condition)))

    @rule(spaces=st.lists(SPACES, min_size=1, max_size=4), key=KEYS, value=VALUES, ttl=LIVES)
    def batch(self, spaces: Any, key: str, value: Any, ttl: Any) -> None:
        """Do several things in their order, some at one place."""
        places = [self.place(space, key) for space in spaces]
        ops: list[Any] = [
            PutOp(*place, value | {"i": number}, None, ttl) for number, place in enumerate(places)
        ]
        ops += [
            GetOp(*places[0]),
            PutOp(*places[-1], None),
            SearchOp((self.root,), limit=3),
            GetOp(*places[-1]),
        ]
        self.ask(lambda store: [_shown(found) for found in store.batch(ops)])

    @rule(space=SPACES, key=KEYS, values=st.tuples(VALUES, VALUES), count=st.integers(0, 2))
    def put_once(self, space: Any, key: str, values: Any, count: int) -> None:
        """Put under a key of the writer's, and again after others wrote: that does nothing."""
        place = self.place(space, key)

        def put(store: Store) -> Any:
            for number, value in enumerate((values[0], *({"n": n} for n in range(count)), values[1])):
                store.put(*place, value, once="mine" if number in (0, count + 1) else False)
            return store.get(*place, refresh_ttl=False)

        self.ask(put)

    # -- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.000001, 1, 59.999999, 60, 90, 400]))
    def advance(self, seconds: float) -> None:
        """Let time pass: some lives are over."""
        self.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        """Remove what expired: nobody sees a difference."""
        self.model.sweep_ttl()
        self.driver.sweep_ttl()

    @rule()
    def reopen(self) -> None:
        """What was acknowledged is there when the driver is closed and opened again."""
        self.driver.close()
        with pytest.raises(Closed):
            self.driver.get(("a",), "k")
        self.driver = self.opened()

    # -- reading -----------------------------------------------------------------------------------------------------

    @rule(space=SPACES, key=KEYS, refresh=st.sampled_from([None, True, False]))
    def get(self, space: Any, key: str, refresh: Any) -> None:
        """Read an item, and begin its life anew or not."""
        place = ((self.root, *space), key)
        self.ask(lambda store: store.get(*place, refresh_ttl=refresh))

    @rule(
        prefix=PREFIXES,
        wanted=FILTERS,
        limit=st.integers(0, 5),
        offset=st.integers(0, 3),
        refresh=st.booleans(),
    )
    def search(self, prefix: Any, wanted: Any, limit: int, offset: int, refresh: bool) -> None:  # noqa: FBT001 - likewise
        """Search a page."""
        self.ask(
            lambda store: _paged(
                store.search(
                    (self.root, *prefix), filter=wanted, limit=limit, offset=offset, refresh_ttl=refresh
                )
            )
        )

    @rule(prefix=PREFIXES, wanted=FILTERS, limit=st.integers(1, 4))
    def walk(self, prefix: Any, wanted: Any, limit: int) -> None:
        """Search page by page, by cursor."""

        def walk(store: Store) -> list[Any]:
            found: list[Any] = []
            cursor = None
            while True:
                page = store.search(
                    (self.root, *prefix), filter=wanted, limit=limit, cursor=cursor, refresh_ttl=False
                )
                found += map(_shown, page)
                cursor = page.cursor
                if cursor is None:
                    return found

        self.ask(walk)

    @rule(
        prefix=PREFIXES,
        wanted=FILTERS,
        query=st.sampled_from(["tea", "GREEN Tea", "coffee green", "", "none"]),
    )
    def find(self, prefix: Any, wanted: Any, query: str) -> None:
        """Find words, where the driver does; what comes first is its own affair."""
        if Capability.FULL_TEXT in self.driver.capabilities:
            self.ask(
                lambda store: store.search(
                    (self.root, *prefix), query=query, filter=wanted, limit=99, refresh_ttl=False
                ),
                sort=True,
            )

    @rule(space=SPACES, key=KEYS, texts=st.permutations(["black tea", "rye bread", "tea bread"]))
    def find_after_a_change(self, space: Any, key: str, texts: Any) -> None:
        """Find an item by the words that it has now, and not by those that it had."""
        place = self.place(space, key)
        if Capability.FULL_TEXT in self.driver.capabilities:
            for text in texts:
                self.ask(partial(_put_text, place, text))
                for query in ("black", "rye", "tea"):
                    self.ask(partial(_found, place[0], query), sort=True)

    @rule(
        prefix=st.none() | SPACES,
        suffix=st.none() | SPACES,
        depth=st.none() | st.integers(1, 4),
        limit=st.integers(0, 5),
        offset=st.integers(0, 2),
    )
    def list_namespaces(self, prefix: Any, suffix: Any, depth: Any, limit: int, offset: int) -> None:
        """List namespaces."""
        begin = (self.root, *(prefix or ()))
        self.ask(
            lambda store: store.list_namespaces(
                prefix=begin, suffix=suffix, max_depth=depth, limit=limit, offset=offset
            )
        )

    @invariant()
    def both_hold_the_same(self) -> None:
        """All items of both are equal after every step."""
        if hasattr(self, "driver"):
            found, wanted = (_shown(_all(store, self.root)) for store in (self.driver, self.model))
            assert found == wanted, "the driver holds something else than the model"
            self.taken.append(1)


def agree_with_store_model(
    open_driver: Callable[[], Store], *, examples: int = 20, steps: int = 30, shrink: bool = True
) -> int:
    """Compare a store with the model in random histories; return how many steps they took.

    Raises what Hypothesis raises for the shortest history that differs. ``steps`` is the length of a history. Without
    ``shrink``, the first one that differs is reported as it is.
    """
    taken: list[int] = []
    machine = type("Histories", (StoreMachine,), {"open_driver": staticmethod(open_driver), "taken": taken})
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return len(taken)


def _put_text(place: Any, text: str, store: Store) -> bool:
    space, key = place
    return store.put(space, key, {"text": text}) > 0


def _found(space: Any, query: str, store: Store) -> Any:
    return store.search(space, query=query, limit=99)


def _all(store: Store, root: str) -> Any:
    return store.search((root,), limit=999, refresh_ttl=False)


def _paged(page: Any) -> tuple[list[Any], bool]:
    return [_shown(item) for item in page], page.cursor is not None


def _shown(found: Any) -> Any:
    """Return an answer as it can be compared: without versions, and without scores."""
    if isinstance(found, list):
        return [_shown(each) for each in found]
    if not hasattr(found, "expires_at"):
        return found
    item: Item = found
    return (item.namespace, item.key, item.value, item.created_at, item.updated_at, item.expires_at)


def _answer(what: Callable[[Store], Any], store: Store, *, sort: bool) -> tuple[Any, ...]:
    try:
        found = _shown(what(store))
    except VersionConflict as error:
        return "raised", "VersionConflict", error.namespace, error.key, bool(error.found)
    except MilepostError as error:
        return "raised", type(error).__name__, str(error)
    return "returned", sorted(found, key=repr) if sort else found
