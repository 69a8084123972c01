"""The store: what is put is what is got, in one order, whoever else is writing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from milepost.drivers import open_store
from milepost.errors import Closed, InvalidItem, NotSerializable, StorageError, VersionConflict
from milepost.memory import InMemoryStore, MemoryStore
from milepost.operations import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from milepost.store import BaseStore, Item, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from milepost.items import StoredItem
    from milepost.scans import Scan

NASTY = [
    ("a",), ("a", "b"), ("ab",), ("a/b",), ("a.b",), ("a%2Fb",), ("A",), ("*",), ("a", "*"), (" ",), ("\x00",),
    ("é",), ("e\u0301",), ("🦊",), ("langgraph",), ("$x",), ("'; --",), ("a_",), ("a|b", "c"), ("x" * 790,),
]  # fmt: skip


class HeldClock:
    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise AssertionError


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as made:
        yield made


def keys(items: list[Item]) -> list[str]:
    return [item.key for item in items]


def test_what_is_put_is_got_with_its_exact_types(store: MemoryStore) -> None:
    value = {
        "n": 1,
        "t": (1, 2),
        "s": {3},
        "when": datetime(2030, 1, 1, tzinfo=UTC),
        "b": b"\x00",
        "none": None,
    }
    store.put(("users", "ann"), "profile", value)
    found = store.get(("users", "ann"), "profile")
    assert found is not None
    assert found.value == value
    assert [type(part) for part in found.value.values()] == [type(part) for part in value.values()]
    assert (found.namespace, found.key) == (("users", "ann"), "profile")


def test_an_unknown_item_is_none_and_reading_leaves_no_trace(store: MemoryStore) -> None:
    assert store.get(("ghost",), "k") is None
    assert store.search(("ghost",)) == []
    assert store.list_namespaces() == []


def test_created_at_stays_and_updated_at_moves(store: MemoryStore) -> None:
    store.clock = clock = HeldClock()
    store.put(("a",), "k", {"n": 1})
    clock.time += timedelta(hours=1)
    store.put(("a",), "k", {"n": 2})
    found = store.get(("a",), "k")
    assert found is not None
    assert found.updated_at - found.created_at == timedelta(hours=1)
    assert found.created_at.tzinfo is UTC
    store.delete(("a",), "k")
    store.put(("a",), "k", {"n": 3})
    again = store.get(("a",), "k")
    assert again is not None
    assert again.created_at == again.updated_at == clock.time


def test_neither_the_writers_nor_the_readers_object_is_the_stored_one(store: MemoryStore) -> None:
    value: dict[str, Any] = {"list": [1]}
    store.put(("a",), "k", value)
    value["list"].append(2)
    for found in (store.get(("a",), "k"), *store.search(("a",))):
        assert found is not None
        assert found.value == {"list": [1]}
        found.value["list"].append(3)
    last = store.get(("a",), "k")
    assert last is not None
    assert last.value == {"list": [1]}


def test_any_mapping_is_taken_and_comes_back_as_a_dict(store: MemoryStore) -> None:
    store.put(("a",), "k", OrderedDict(b=1, a=2))
    found = store.get(("a",), "k")
    assert found is not None
    assert type(found.value) is dict
    assert list(found.value) == ["b", "a"]


@pytest.mark.parametrize("delete", [lambda s: s.delete(("a",), "k"), lambda s: s.put(("a",), "k", None)])
def test_deleting_removes_exactly_that_item_and_its_empty_namespace(store: MemoryStore, delete: Any) -> None:
    for namespace, key in ((("a",), "k"), (("a", "b"), "k"), (("ab",), "k")):
        store.put(namespace, key, {})
    delete(store)
    assert store.get(("a",), "k") is None
    assert store.list_namespaces() == [("a", "b"), ("ab",)]
    delete(store)


def test_namespaces_of_any_characters_stay_apart(store: MemoryStore) -> None:
    for number, namespace in enumerate(NASTY):
        store.put(namespace, "k", {"n": number})
    for number, namespace in enumerate(NASTY):
        found = store.get(namespace, "k")
        assert found is not None
        assert found.value == {"n": number}
    assert store.list_namespaces() == sorted(NASTY)
    assert [item.namespace for item in store.search(("a",))] == [("a",), ("a", "*"), ("a", "b")]


@pytest.mark.parametrize(
    "namespace", ["users", (), ("",), ("a", ""), ("a", 1), None, {"a"}, ("\ud800",)], ids=repr
)
def test_a_malformed_namespace_is_refused_by_every_method(store: MemoryStore, namespace: Any) -> None:
    calls = [
        lambda: store.get(namespace, "k"),
        lambda: store.put(namespace, "k", {}),
        lambda: store.put(namespace, "k", None),
        lambda: store.delete(namespace, "k"),
    ]
    if namespace != ():
        calls.append(lambda: store.search(namespace))
    for call in calls:
        with pytest.raises(InvalidItem):
            call()
    assert store.list_namespaces() == []


@pytest.mark.parametrize("key", ["", 1, None, b"k", "\udfff"], ids=repr)
def test_a_malformed_key_is_refused(store: MemoryStore, key: Any) -> None:
    with pytest.raises(InvalidItem, match="a key is"):
        store.put(("a",), key, {})
    with pytest.raises(InvalidItem):
        store.get(("a",), key)


@pytest.mark.parametrize("value", [[1], "text", 7, {1: "x"}, {("a",): 1}], ids=repr)
def test_a_value_is_a_mapping_with_str_keys(store: MemoryStore, value: Any) -> None:
    with pytest.raises(InvalidItem, match="str"):
        store.put(("a",), "k", value)


def test_a_value_that_cannot_be_kept_is_refused_with_its_place(store: MemoryStore) -> None:
    store.put(("a",), "k", {"n": 1})
    with pytest.raises(NotSerializable) as caught:
        store.put(("a",), "k", {"lock": [threading.Lock()]})
    assert "item 'k' in namespace ('a',)" in str(caught.value)
    assert caught.value.path == "$.lock[0]"
    found = store.get(("a",), "k")
    assert found is not None
    assert found.value == {"n": 1}


def test_search_is_ordered_by_namespace_and_key(store: MemoryStore) -> None:
    for namespace, key in ((("b",), "1"), (("a", "x"), "2"), (("a",), "10"), (("a",), "1"), (("A",), "z")):
        store.put(namespace, key, {})
    assert [(item.namespace, item.key) for item in store.search(())] == [
        (("A",), "z"), (("a",), "1"), (("a",), "10"), (("a", "x"), "2"), (("b",), "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["bool", "deep", "none", "one", "text"]),
        ({"x": 1}, ["one"]),
        ({"x": True}, ["bool"]),
        ({"x": "1"}, ["text"]),
        ({"x": None}, ["none"]),
        ({"y": None}, []),
        ({"x": {"y": {"z": [1, 2]}}}, ["deep"]),
        ({"x": {"y": {"z": [1]}}}, []),
        ({"x": {"y": {}, "w": 1}}, ["deep"]),
        ({"x": {"w": 1, "v": 1}}, []),
        ({"x": 1, "tag": "a"}, ["one"]),
        ({"x": 1, "tag": "b"}, []),
    ],
)
def test_a_filter_matches_equal_values_also_inside(
    store: MemoryStore, wanted: dict[str, Any], found: list[str]
) -> None:
    store.put(("f",), "one", {"x": 1, "tag": "a"})
    store.put(("f",), "bool", {"x": True})
    store.put(("f",), "text", {"x": "1"})
    store.put(("f",), "none", {"x": None})
    store.put(("f",), "deep", {"x": {"y": {"z": [1, 2]}, "w": 1}})
    assert keys(store.search(("f",), filter=wanted)) == found


@pytest.mark.parametrize(
    "wanted", [{"$gt": 1}, {"x": {"$neq": ""}}, {"x": {"y": {"$or": []}}}, {1: 2}, [("x", 1)]]
)
def test_a_malformed_filter_is_refused(store: MemoryStore, wanted: Any) -> None:
    with pytest.raises(InvalidItem):
        store.search((), filter=wanted)


def test_filtering_comes_before_paging(store: MemoryStore) -> None:
    for number in range(600):
        store.put(("n",), f"{number:04}", {"even": number % 2 == 0})
    assert keys(store.search(("n",), filter={"even": True}, limit=2, offset=298)) == ["0596", "0598"]
    assert len(store.search(("n",))) == 10
    assert len(store.search(("n",), limit=1000)) == 600
    assert store.search(("n",), limit=0) == []


@pytest.mark.parametrize("page", [{"limit": -1}, {"offset": -1}, {"limit": 1.5}, {"limit": None}])
def test_a_malformed_page_is_refused(store: MemoryStore, page: dict[str, Any]) -> None:
    with pytest.raises(InvalidItem, match="at least 0"):
        store.search((), **page)
    with pytest.raises(InvalidItem, match="at least 0"):
        store.list_namespaces(**page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f")]),
        ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]),
        ({"prefix": ("a", "*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"suffix": ("f",)}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"suffix": ("d", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
        ({"prefix": ("a", "c"), "suffix": ("c", "f")}, [("a", "c", "f")]),
        ({"prefix": ("a", "b", "c", "x")}, []),
        ({"max_depth": 1}, [("a",)]),
        ({"limit": 2, "offset": 1}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
    ],
)
def test_namespaces_are_listed_by_prefix_suffix_and_depth(
    store: MemoryStore, query: dict[str, Any], found: list[tuple[str, ...]]
) -> None:
    for namespace in ("abf", "abc", "acf", "abdi", "abde"):
        store.put(tuple(namespace), "k", {})
        store.put(tuple(namespace), "l", {})
    assert store.list_namespaces(**query) == found


def test_a_malformed_listing_is_refused(store: MemoryStore) -> None:
    with pytest.raises(InvalidItem, match="max_depth"):
        store.list_namespaces(max_depth=0)
    with pytest.raises(InvalidItem, match="a prefix is a tuple"):
        store.list_namespaces(prefix="a")  # type: ignore[arg-type]


def test_readers_and_writers_do_not_disturb_each_other(store: MemoryStore) -> None:
    def write(worker: int) -> None:
        for number in range(150):
            store.put(("w", str(worker)), str(number % 7), {"n": number})
            store.delete(("w", str(worker)), str((number + 3) % 7))

    def read(_: int) -> None:
        for _ in range(60):
            found = store.search(("w",), limit=1000)
            assert [(item.namespace, item.key) for item in found] == sorted(
                (item.namespace, item.key) for item in found
            )
            store.list_namespaces()

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(job, number) for number in range(4) for job in (write, read)]
        for future in done:
            future.result()
    assert len(store.list_namespaces()) == 4


def test_a_named_memory_is_shared_and_outlives_one_drivers_close() -> None:
    with open_store("memory://test-memory-store") as one:
        one.put(("a",), "k", {"n": 1})
        assert repr(one) == "MemoryStore('test-memory-store')"
    with open_store("memory://test-memory-store") as other:
        assert keys(other.search(())) == ["k"]
    with open_store("memory://") as fresh:
        assert fresh.search(()) == []


def test_a_closed_store_says_so(store: MemoryStore) -> None:
    assert store.open() is store
    store.close()
    store.close()
    calls = [
        lambda: store.get(("a",), "k"),
        lambda: store.put(("a",), "k", {}),
        lambda: store.delete(("a",), "k"),
        lambda: store.search(()),
        store.list_namespaces,
        store.open,
    ]
    for call in calls:
        with pytest.raises(Closed, match="MemoryStore"):
            call()


def test_langgraphs_names_are_the_same_classes() -> None:
    assert InMemoryStore is MemoryStore
    assert BaseStore is Store


# -- several operations ----------------------------------------------------------------------------------------------


def test_a_batch_does_everything_in_its_order(store: MemoryStore) -> None:
    store.put(("a",), "old", {"n": 0})
    found = store.batch(
        [
            PutOp(("a",), "k", {"n": 1}),
            GetOp(("a",), "k"),
            PutOp(("a",), "k", {"n": 2}),
            PutOp(("a",), "k", {"n": 3}),
            PutOp(("a",), "old", None),
            SearchOp(("a",), filter={"n": {"$gte": 0}}),
            ListNamespacesOp((MatchCondition("prefix", ("a",)),), max_depth=1),
            GetOp(("a",), "old"),
        ]
    )
    assert found[1].value == {"n": 1}
    assert [item.value for item in found[5]] == [{"n": 3}]
    assert found[6] == [("a",)]
    assert [found[place] for place in (0, 2, 3, 4, 7)] == [None] * 5


@pytest.mark.parametrize(
    "op",
    [
        GetOp((), "k"),
        GetOp(("a",), ""),
        PutOp(("a",), "k", [1]),  # type: ignore[arg-type]
        PutOp(("a",), "k", {}, if_version=-1),
        PutOp(("a",), "k", {}, ttl=0),
        SearchOp(("a",), limit=-1),
        SearchOp(("a",), filter={"x": {"$neq": 1}}),
        ListNamespacesOp((MatchCondition("middle", ("a",)),)),
        ListNamespacesOp((MatchCondition("prefix", ("a",)), MatchCondition("prefix", ("b",)))),
        ListNamespacesOp(max_depth=0),
        ("a", "k"),
    ],
    ids=repr,
)
def test_a_batch_with_a_malformed_operation_does_nothing(store: MemoryStore, op: Any) -> None:
    with pytest.raises(InvalidItem):
        store.batch([PutOp(("a",), "first", {}), op])
    assert store.search(()) == []


def test_writes_of_a_batch_go_to_the_driver_together(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    swap = store._swap
    monkeypatch.setattr(store, "_swap", lambda changes: (sizes.append(len(changes)), swap(changes))[1])
    store.batch([PutOp(("a",), str(number), {}) for number in range(50)])
    store.batch([PutOp(("a",), "1", {}), PutOp(("a",), "2", {}), PutOp(("a",), "1", {"x": 1})])
    assert sizes == [50, 2, 1]
    found = store.get(("a",), "1")
    assert found is not None
    assert found.value == {"x": 1}


def test_the_writes_beside_one_whose_condition_does_not_hold_are_applied(store: MemoryStore) -> None:
    with pytest.raises(VersionConflict) as caught:
        store.batch([PutOp(("a",), "1", {}), PutOp(("a",), "2", {}, if_version=7), PutOp(("a",), "3", {})])
    assert (caught.value.key, caught.value.expected, caught.value.found) == ("2", 7, 0)
    assert keys(store.search(())) == ["1", "3"]


def test_a_search_asks_the_driver_for_no_more_than_it_returns_and_one(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        store.put(("n",), f"k{number}", {"v": number})
    asked, scan = [], store._scan

    def counted(given: Scan) -> Sequence[StoredItem]:
        asked.append(given.limit)
        return scan(given)

    monkeypatch.setattr(store, "_scan", counted)
    assert len(store.search(("n",), limit=2, offset=1)) == 2
    assert [found.key for found in store.search(("n",), limit=1, filter={"v": 8})] == ["k8"]
    assert asked == [4, 2, 8]


def test_a_cursor_that_is_no_text_is_refused(store: MemoryStore) -> None:
    with pytest.raises(InvalidItem, match="is no cursor"):
        store.search((), cursor="after \ud800")


@pytest.mark.parametrize("ttl", [1e12, timedelta(days=400_000)])
def test_a_life_that_no_date_could_end_is_refused(store: MemoryStore, ttl: float | timedelta) -> None:
    with pytest.raises(InvalidItem, match="up to 1000 years"):
        store.put(("n",), "k", {}, ttl=ttl)


def test_a_sweep_that_fails_does_not_fail_the_write_that_it_came_with(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise StorageError("no")

    monkeypatch.setattr(store, "_scan", broken)
    assert store.put(("a",), "k", {"n": 1}) > 0
    assert store.get(("a",), "k") is not None
