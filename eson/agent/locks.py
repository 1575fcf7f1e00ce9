"""One operation on an object at a time: who comes second is told `450`, nobody waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from eson.errors import Busy


class Locks:
    """Locks by name, exclusive or shared, held while a use case runs."""

    def __init__(self) -> None:
        self._exclusive: set[str] = set()
        self._shared: Counter[str] = Counter()

    @contextmanager
    def hold(self, *exclusive: str, shared: Iterable[str] = ()) -> Iterator[None]:
        """Holds all or none.  Raises `Busy`."""
        both = tuple(one for one in shared if one not in exclusive)
        for name in exclusive:
            if name in self._exclusive or self._shared[name]:
                raise Busy(f"Another operation on {name} is under way")
        for name in both:
            if name in self._exclusive:
                raise Busy(f"Another operation on {name} is under way")
        self._exclusive.update(exclusive)
        self._shared.update(both)
        try:
            yield
        finally:
            self._exclusive.difference_update(exclusive)
            self._shared.subtract(both)
            for name in both:
                if not self._shared[name]:
                    del self._shared[name]

    def held(self, name: str) -> bool:
        """Whether anybody holds `name` now."""
        return name in self._exclusive or bool(self._shared.get(name))
