"""Several operations of a store in their order, with as few calls of the driver as that order allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost import _given, filters, items
from milepost.errors import InvalidItem
from milepost.operations import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost._writes import Write


def run(store: Any, ops: Sequence[Any]) -> list[Any]:
    """Do all of it; return what each gives."""
    steps: list[Any] = [_step(store, op) for op in ops]
    results: list[Any] = [None] * len(ops)
    begin = 0
    while begin < len(steps):
        end = _end(steps, begin)
        part = steps[begin:end]
        if isinstance(part[0], _Put):
            store._apply([step.write for step in part])  # noqa: SLF001 - a part of Store
        elif isinstance(part[0], _Get):
            asked = [step.place for step in part]
            results[begin:end] = store._get(asked, refresh_ttl=part[0].refreshes)  # noqa: SLF001 - likewise
        else:
            results[begin] = part[0]()
        begin = end
    return results


class _Put:
    def __init__(self, write: Write) -> None:
        self.write = write
        self.place = write.address


class _Get:
    def __init__(self, op: GetOp) -> None:
        self.place = items.address(_given.namespace(op.namespace), _given.key(op.key))
        self.refreshes = op.refresh_ttl


def _step(store: Any, op: Any) -> Any:
    """Check an operation and return a put, a get, or a function that does it.

    Raises:
        InvalidItem: it is malformed, or none.
    """
    if isinstance(op, PutOp):
        keywords: dict[str, Any] = {} if op.ttl is None else {"ttl": op.ttl}
        given = (op.namespace, op.key, op.value, op.index)
        return _Put(store._write(*given, if_version=op.if_version, once=op.once, **keywords))  # noqa: SLF001 - likewise
    if isinstance(op, GetOp):
        return _Get(op)
    if isinstance(op, SearchOp):
        _given.labels(op.namespace_prefix, "namespace prefix")
        _given.check_page(op.limit, op.offset)
        filters.parse(op.filter)
        keywords = op._asdict()
        prefix = keywords.pop("namespace_prefix")
        return lambda: store.search(prefix, **keywords)
    if isinstance(op, ListNamespacesOp):
        keywords = _listing(op)
        return lambda: store.list_namespaces(**keywords)
    raise InvalidItem(f"a batch takes GetOp, PutOp, SearchOp and ListNamespacesOp, not {op!r}")


def _listing(op: ListNamespacesOp) -> dict[str, Any]:
    keywords: dict[str, Any] = {"max_depth": op.max_depth, "limit": op.limit, "offset": op.offset}
    for given in op.match_conditions or ():
        kind, path = MatchCondition(*given)
        if kind not in ("prefix", "suffix") or kind in keywords:
            raise InvalidItem(
                f"match_conditions are one prefix and one suffix at most; {given!r} is neither, or one more"
            )
        keywords[kind] = _given.labels(path, kind)
    _given.check_page(op.limit, op.offset)
    _given.check_depth(op.max_depth)
    return keywords


def _end(steps: Sequence[Any], begin: int) -> int:
    """Return how far the steps from here go to the driver together: of one kind, and each of another item."""
    first: Any = steps[begin]
    if not isinstance(first, _Put | _Get):
        return begin + 1
    seen: set[str] = set()
    for number in range(begin, len(steps)):
        step: Any = steps[number]
        other = type(step) is not type(first) or step.place in seen
        if other or (isinstance(first, _Get) and step.refreshes != first.refreshes):
            return number
        seen.add(step.place)
    return len(steps)
