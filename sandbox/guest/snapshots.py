"""Values as they are at one moment, kept cheaply until it is known whether anyone will ask for them."""

from __future__ import annotations

from typing import Any

from sandbox.guest.values import (
    MAX_DEPTH,
    MAX_NODES,
    NOTHING,
    SCALARS,
    Snapshot,
    TooLarge,
    clean,
    plain_equivalent,
    text_of,
    type_name_of,
)


def snapshot(value: Any, text: str | None = None) -> Any:
    """`value` as it is now, to be encoded later: cheaper than encoding it at once; nothing done to `value` changes it.

    `text` is what `str(value)` gave, where that is known already.
    """
    try:
        return _Snapshooter().take(value, 0, text)
    except (TooLarge, RecursionError, MemoryError, RuntimeError):
        return Snapshot(type_name_of(type(value)), text_of(value) if text is None else clean(text), NOTHING)


class _Snapshooter:
    def __init__(self) -> None:
        self.left = MAX_NODES

    def take(self, value: Any, depth: int, text: str | None = None) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return value
        if depth > MAX_DEPTH:
            raise TooLarge
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            self._pay(len(value))
            if SCALARS.issuperset(map(type, value)):
                return kind(value)
            return kind([self.take(item, depth + 1) for item in value])
        if kind is dict:
            self._pay(len(value))
            if SCALARS.issuperset(map(type, value.values())) and SCALARS.issuperset(map(type, value)):
                return dict(value)
            return {self.take(key, depth + 1): self.take(item, depth + 1) for key, item in value.items()}
        return Snapshot(type_name_of(kind), text_of(value) if text is None else clean(text), self._source(value, depth))

    def _source(self, value: Any, depth: int) -> Any:
        try:
            if hasattr(type(value), "__array__") and value.dtype != object:
                return value.copy()  # a numpy array or scalar, a pandas Series
            found, equivalent = plain_equivalent(value)
        except (TooLarge, RecursionError, MemoryError):
            raise
        except BaseException:  # whatever the object's own code raised: then there is no equivalent
            return NOTHING
        if not found:
            return NOTHING
        if type(equivalent) is list and SCALARS.issuperset(map(type, equivalent)):
            self._pay(len(equivalent))
            return equivalent  # a copy already
        return self.take(equivalent, depth + 1)

    def _pay(self, items: int) -> None:
        self.left -= items
        if self.left < 0:
            raise TooLarge
