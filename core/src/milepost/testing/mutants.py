"""Broken drivers: each has one fault that some driver has had. They prove that clauses can fail."""

from __future__ import annotations

from milepost.testing import _mutants_of_heads, _mutants_of_journals, _mutants_of_listings, _mutants_of_lives
from milepost.testing._mutant import Bent, Mutant, Split

__all__ = ["Mutant", "mutants"]

_MODULES = (_mutants_of_journals, _mutants_of_heads, _mutants_of_listings, _mutants_of_lives)
_BASES = (Mutant, Split, Bent)


def mutants() -> list[type[Mutant]]:
    """Return every broken driver; ``caught_by`` of each names the clauses that must notice."""
    found = [value for module in _MODULES for value in vars(module).values()]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, Mutant) and cls not in _BASES]
