"""The contracts of drivers as tests that anybody can run: :class:`CheckpointerContract`, :class:`StoreContract`.

Needs ``pip install 'milepost[testing]'``. Nothing else in milepost imports it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from milepost.testing.contract import CheckpointerContract
    from milepost.testing.faulty import Faulty, Gate
    from milepost.testing.machine import CheckpointerMachine, agree_with_model
    from milepost.testing.place import Place
    from milepost.testing.racing import Race, race, two_writers
    from milepost.testing.store_contract import StoreContract
    from milepost.testing.store_machine import StoreMachine, agree_with_store_model
    from milepost.testing.store_place import StorePlace

__all__ = [
    "CheckpointerContract",
    "CheckpointerMachine",
    "Faulty",
    "Gate",
    "Place",
    "Race",
    "StoreContract",
    "StoreMachine",
    "StorePlace",
    "agree_with_model",
    "agree_with_store_model",
    "race",
    "two_writers",
]

_HOMES: Final = {
    "CheckpointerContract": "contract",
    "CheckpointerMachine": "machine",
    "Faulty": "faulty",
    "Gate": "faulty",
    "Place": "place",
    "Race": "racing",
    "StoreContract": "store_contract",
    "StoreMachine": "store_machine",
    "StorePlace": "store_place",
    "agree_with_model": "machine",
    "agree_with_store_model": "store_machine",
    "race": "racing",
    "two_writers": "racing",
}
_REWRITTEN: Final = (
    "_appending", "_deleting", "_fencing", "_heads", "_lifetime", "_listing", "_processes", "_pruning", "_reading",
    "machine", "place", "racing", "_items_found", "_items_kept", "_items_living", "_items_shared", "store_machine",
    "store_place",
)  # fmt: skip

if find_spec("pytest") is not None:
    # Before any of them is imported: without it a failed clause would say AssertionError and nothing else.
    import_module("pytest").register_assert_rewrite(*(f"{__name__}.{name}" for name in _REWRITTEN))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
