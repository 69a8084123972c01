"""Words of a text, as full-text search compares them: pure, and the same on every backend."""

from __future__ import annotations

import unicodedata
from math import log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_K1: Final = 1.2
_B: Final = 0.75
_LEAST: Final = 1e-6
"""What a word that stands almost everywhere still weighs."""


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, without case, accents and width."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    spaced = "".join(_kept(character) for character in plain)
    return unicodedata.normalize("NFC", spaced.casefold()).split()


def _kept(character: str) -> str:
    if character.isalnum():
        return character
    return "" if unicodedata.combining(character) else " "


def bm25(texts: Sequence[Sequence[str]], asked: Sequence[str]) -> Callable[[Sequence[str]], float]:
    """Return what tells how well a text with these words fits: Okapi BM25 among all texts, as SQLite's FTS5 has it."""
    count, length = len(texts), sum(map(len, texts)) / max(1, len(texts)) or 1.0
    weights = {}
    for word in asked:
        hits = sum(word in text for text in texts)
        weights[word] = max(_LEAST, log((count - hits + 0.5) / (hits + 0.5)))

    def weigh(text: Sequence[str]) -> float:
        long = _K1 * (1 - _B + _B * len(text) / length)
        return sum(
            weight * text.count(word) * (_K1 + 1) / (text.count(word) + long)
            for word, weight in weights.items()
        )

    return weigh
