"""The newest results, as many as weigh no more than a bound together."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Results by key; what was asked for longest ago goes first."""

    def __init__(self, most: int) -> None:
        """``most`` 0 keeps nothing."""
        self._most = most
        self._items: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self.weight = 0

    def get(self, key: str) -> T | None:
        """Return the result of ``key``."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key][0]

    def put(self, key: str, result: T, weight: int) -> None:
        """Keep ``result``, unless it alone is too heavy."""
        if weight > self._most:
            return
        self._drop(key)
        self._items[key] = result, weight
        self.weight += weight
        while self.weight > self._most:
            self._drop(next(iter(self._items)))

    def _drop(self, key: str) -> None:
        _, weight = self._items.pop(key, (None, 0))
        self.weight -= weight
