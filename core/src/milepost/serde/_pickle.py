"""Signed pickles: the opt-in codec for values that nothing else can hold.

A pickle is loaded only if its signature shows that a process with the same key wrote it, for this very
record, under this version of Python. Everything is checked before a byte of it is unpickled.
"""

from __future__ import annotations

import binascii
import sys
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import InvalidCodec, SignatureInvalid
from milepost.serde._unfit import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHORTEST_KEY: Final = 16
_FIELDS: Final = frozenset({"data", "key", "mac", "python", "cloudpickle"})
_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


class SignedPickle:
    """Pickles values and signs them with HMAC-SHA256 over the record's identity, the versions and the data.

    ``key`` signs; ``previous_keys`` are accepted in addition when reading, so that keys can be rotated.
    """

    def __init__(self, key: bytes | str, previous_keys: Iterable[bytes | str] = ()) -> None:
        keys = [_key(item) for item in (key, *previous_keys)]
        self._keys = {_key_id(item): item for item in reversed(keys)}
        self._key_id = _key_id(keys[0])

    def dump(self, value: Any, *, identity: str) -> dict[str, str]:
        """Return the record of a value. Raises whatever cloudpickle raises."""
        import cloudpickle

        data = cloudpickle.dumps(value)
        record = {
            "data": binascii.b2a_base64(data, newline=False).decode("ascii"),
            "key": self._key_id,
            "python": _PYTHON,
            "cloudpickle": str(cloudpickle.__version__),
        }
        return {**record, "mac": _mac(self._keys[self._key_id], identity, record)}

    def load(self, record: Any, *, identity: str) -> Any:
        """Return the value of a record, once its signature is found valid.

        Raises:
            SignatureInvalid: unknown key, wrong signature, or a record that was moved to another place.
            Unreadable: another version of Python wrote it, or unpickling failed.
        """
        import hmac

        _check_shape(record)
        key = self._keys.get(record["key"])
        if key is None:
            raise SignatureInvalid(
                f"it is signed with the key {record['key']}, which is not enabled here; "
                f"pass that key in previous_keys= of milepost.serde.enable_pickle()"
            )
        expected = _mac(key, identity, record)
        if not hmac.compare_digest(expected.encode(), record["mac"].encode()):
            raise SignatureInvalid("its signature does not match; the record was changed or moved")
        if record["python"] != _PYTHON:
            raise Unreadable(
                "pickle",
                f"it was pickled by Python {record['python']} and this is Python {_PYTHON}; "
                f"go on with Python {record['python']}",
            )
        return _unpickle(record)


def _unpickle(record: Mapping[str, str]) -> Any:
    import cloudpickle

    try:
        return cloudpickle.loads(binascii.a2b_base64(record["data"]))
    except Exception as error:
        raise Unreadable(
            "pickle",
            f"it cannot be unpickled ({type(error).__name__}: {error}); "
            f"it was written with cloudpickle {record['cloudpickle']}",
        ) from error


def _check_shape(record: Any) -> None:
    fits = type(record) is dict and record.keys() == _FIELDS and all(type(v) is str for v in record.values())
    if not fits:
        raise SignatureInvalid("it is a pickle without a signature; such a record is never loaded")


def _mac(key: bytes, identity: str, record: Mapping[str, str]) -> str:
    import hmac

    parts = (identity, record["key"], record["python"], record["cloudpickle"], record["data"])
    signer = hmac.new(key, b"milepost pickle 1", "sha256")
    for part in parts:  # each with its length: nothing can be moved over a border between two
        data = part.encode("utf-8", "surrogatepass")
        signer.update(len(data).to_bytes(8, "big") + data)
    return signer.hexdigest()


def _key(key: bytes | str) -> bytes:
    data = key.encode() if isinstance(key, str) else bytes(key)
    if len(data) < _SHORTEST_KEY:
        raise InvalidCodec(
            f"a signing key needs at least {_SHORTEST_KEY} bytes; make one with os.urandom(32)"
        )
    return data


def _key_id(key: bytes) -> str:
    from hashlib import blake2b

    return blake2b(key, digest_size=8, person=b"milepost-key").hexdigest()


class _Current:
    """What is enabled in this process."""

    codec: SignedPickle | None = None


def current() -> SignedPickle | None:
    """Return the codec that is enabled in this process, if any."""
    return _Current.codec


def enable_pickle(key: bytes | str, *, previous_keys: Iterable[bytes | str] = ()) -> None:
    """Let values that nothing else can hold be kept as signed pickles, in this process.

    Every process that reads such a record needs the key, and the Python version (3.x) that wrote it. Pickles
    run code when they are loaded: keep the key where those who can write to the backend cannot read it.
    Enabling again replaces the keys; ``previous_keys`` are accepted when reading.

    Raises:
        InvalidCodec: a key is shorter than 16 bytes.
    """
    _Current.codec = SignedPickle(key, previous_keys)


def disable_pickle() -> None:
    """Neither write nor read pickles in this process any more (the default)."""
    _Current.codec = None
