"""What can be covered, as bits of a number, so that coverage travels and adds up.

Bit i stands for pair (or triple) i of all that some Case within the limits has, in order. Numbers
of two spaces, of other limits or another version of the package, do not mix: `name` tells them
apart.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.search.coverage import Coverage
from gptq_fuzz.search.pairwise import Together, all_together


class Space:
    """The pairs and triples of one kernel's limits."""

    def __init__(self, limits: Limits):
        self.pairs, self.triples = (
            sorted(all_together(limits, strength), key=sorted) for strength in (2, 3)
        )
        listed = repr([sorted(each) for each in (*self.pairs, *self.triples)])
        self.name = hashlib.sha256(listed.encode()).hexdigest()[:16]

    def seen(self, coverage: Coverage) -> tuple[int, int]:
        """The pairs and the triples that were judged."""
        return _bits(self.pairs, coverage.pairs), _bits(self.triples, coverage.triples)

    def cold(self, pairs: int, triples: int) -> tuple[list[Together], list[Together]]:
        """The pairs and triples that are not in these numbers."""
        return _absent(self.pairs, pairs), _absent(self.triples, triples)


def _bits(places: Iterable[Together], seen: set[Together]) -> int:
    return sum(1 << place for place, together in enumerate(places) if together in seen)


def _absent(places: Iterable[Together], bits: int) -> list[Together]:
    return [together for place, together in enumerate(places) if not bits >> place & 1]


@functools.lru_cache(maxsize=64)
def space_of(limits: Limits) -> Space:
    return Space(limits)
