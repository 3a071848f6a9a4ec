"""Values as tagged JSON: what crosses the wall of the box, both ways, instead of pickles.

None, bool, str, small int, finite float, list and dict with plain string keys are themselves. What JSON cannot say is a
one-key mapping: {"tuple": [...]}, {"set": [...]}, {"frozenset": [...]}, {"dict": [[key, value], ...]},
{"float": "nan" | "inf" | "-inf"}, {"int": "0x..."} beyond 64 bits, {"bytes": "<hex>"}, {"complex": [re, im]}. A dict that would
read as one of these is written as {"dict": ...}. What is not plain data is {"object": {"type", "text", ...}}:
see `Opaque`.
"""

from __future__ import annotations

import math
import sys
from typing import Any

TAGS = frozenset({"tuple", "set", "frozenset", "dict", "float", "int", "bytes", "complex", "object"})
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_TEXT = 262_144  # characters of one string, and of an object's text


class TooLarge(ValueError):
    """The value is deeper or larger than may cross."""


class Malformed(ValueError):
    """The tagged JSON does not follow the format; the message says where."""


class Opaque:
    """A value that is not plain data: its type's full name, its text, and what conversions made of it.

    `value` is its plain equivalent where there is one by definition (a numpy scalar or array, a pandas Series, a
    subclass of a plain type), else absent. `conversions` maps "str", "int", "float", "list" to their results, where asked for
    and where they did not raise.
    """

    __slots__ = ("conversions", "has_value", "text", "type", "value")

    def __init__(
        self, type: str, text: str, *, value: Any = None, has_value: bool = False, conversions: dict[str, Any] | None = None
    ) -> None:
        self.type = type
        self.text = text
        self.value = value
        self.has_value = has_value
        self.conversions = conversions or {}

    def __repr__(self) -> str:
        return f"<{self.type}: {self.text}>"
