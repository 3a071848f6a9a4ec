"""Values as tagged JSON: what crosses the wall of the box, both ways, instead of pickles.

None, bool, str, int of at most 64 bits, finite float, list and dict with plain string keys are themselves. What JSON cannot
say is a one-key mapping: {"tuple": [...]}, {"set": [...]}, {"frozenset": [...]}, {"dict": [[key, value], ...]},
{"float": "nan" | "inf" | "-inf"}, {"int": "0x..."} beyond 64 bits, {"bytes": "<hex>"}, {"complex": [re, im]}. A dict that would
read as one of these is written as {"dict": ...}. What is not plain data is {"object": {"type", "text", ...}}:
see `Opaque`.
"""

from __future__ import annotations

import math
import re
from itertools import islice
from typing import Any

TAGS = frozenset({"tuple", "set", "frozenset", "dict", "float", "int", "bytes", "complex", "object"})
MAX_DEPTH = 64
MAX_NODES = 200_000  # of one value, each 32 characters of a text counting as one more
MAX_TEXT = 262_144  # characters of one string, and of an object's text
MAX_LIST = 100_000  # items that the conversion `list` draws from an object

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_HEX_INT = re.compile(r"-?0x[0-9a-f]+")
_CONVERSIONS = ("str", "int", "float", "list")  # in this order: the last may use the object up


class TooLarge(ValueError):
    """The value is deeper or larger than may cross."""


class Malformed(ValueError):
    """The tagged JSON does not follow the format; the message says where."""


class Opaque:
    """A value that is not plain data: its type's full name, its text, and what conversions made of it.

    `text` is what `str` makes of it. `value` is its plain equivalent where there is one by definition (a numpy scalar or array,
    a pandas Series, a subclass of a plain type), else absent. `conversions` maps "str", "int", "float", "list" to their
    results, where asked for and where they did not raise.
    """

    __slots__ = ("conversions", "has_value", "text", "type", "value")

    def __init__(
        self,
        type: str,  # noqa: A002 (the format's own word)
        text: str,
        *,
        value: Any = None,
        has_value: bool = False,
        conversions: dict[str, Any] | None = None,
    ) -> None:
        self.type = type
        self.text = text
        self.value = value
        self.has_value = has_value
        self.conversions = conversions or {}

    def __repr__(self) -> str:
        return f"<{self.type}: {self.text}>"


class _NotPlain(Exception):
    pass


class Snapshot:
    """An object as it was at one moment: encodes as the object did then."""

    __slots__ = ("source", "text", "type")

    def __init__(self, type: str, text: str, source: Any) -> None:  # noqa: A002 (the format's own word)
        self.type = type
        self.text = text
        self.source = source  # what its plain equivalent is made from, or NOTHING


NOTHING: Any = object()


# ---- out -----------------------------------------------------------------------------------------------------------


def encode(value: Any, *, conversions: bool = False, text: str | None = None, max_depth: int = MAX_DEPTH) -> Any:
    """The tagged JSON of any value. Never raises for what the value is or does; a value too large or endless becomes an object.

    With `conversions`, an object also carries what `str`, `int`, `float` and `list` make of it; `list` may use an iterator up.
    `text` is what `str(value)` gave, where that is known already. Iterators are never advanced otherwise.
    """
    encoder = _Encoder(max_depth)
    kind = type(value)
    try:
        if kind in _PLAIN or kind is Snapshot:
            return encoder.encode(value, 0)
        described = encoder.describe(value, 0, text)
    except (TooLarge, RecursionError, MemoryError, RuntimeError):
        # RuntimeError: a container that another thread changes meanwhile.
        if kind is Snapshot:
            return {"object": {"type": value.type, "text": value.text}}
        described = {"type": type_name_of(kind), "text": text_of(value) if text is None else clean(text)}
    if conversions:
        described["conversions"] = _convert(value, max_depth)
    return {"object": described}


def plain(value: Any) -> bool:
    """Whether `value` is plain data through and through, and small enough, so that decode(encode(value)) is it."""
    try:
        _Encoder(MAX_DEPTH, plain_only=True).encode(value, 0)
    except (_NotPlain, TooLarge, RecursionError):
        return False
    return True


def clean(text: str) -> str:
    """`text` as valid Unicode and cut to MAX_TEXT characters."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


class _Encoder:
    def __init__(self, max_depth: int, *, plain_only: bool = False) -> None:
        self.max_depth = max_depth
        self.plain_only = plain_only
        self.left = MAX_NODES

    def encode(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth > self.max_depth or self.left < 0:
            raise TooLarge
        kind = type(value)
        if kind is str:
            self._pay(len(value))
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else self._large_int(value)
        if value is None or kind is bool:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if kind is list:
            return [self.encode(item, depth + 1) for item in value]
        if kind is dict:
            return self._dict(value, depth)
        if kind is tuple or kind is set or kind is frozenset:
            return {kind.__name__: [self.encode(item, depth + 1) for item in value]}
        if kind is bytes:
            self._pay(2 * len(value))
            return {"bytes": value.hex()}
        if kind is complex:
            return {"complex": [self.encode(value.real, depth + 1), self.encode(value.imag, depth + 1)]}
        if self.plain_only:
            raise _NotPlain
        if kind is Snapshot:
            return {"object": self.describe(value.source, depth, value.text, value.type)}
        return {"object": self.describe(value, depth)}

    def describe(self, value: Any, depth: int, text: str | None = None, type_name: str | None = None) -> dict[str, Any]:
        """What is inside {"object": ...}, without conversions."""
        text = text_of(value) if text is None else clean(text)
        self._pay(len(text))
        described: dict[str, Any] = {"type": type_name_of(type(value)) if type_name is None else type_name, "text": text}
        try:
            found, equivalent = plain_equivalent(value)
        except (TooLarge, RecursionError, MemoryError):
            raise
        except BaseException:
            found = False
        if found:
            described["value"] = self.encode(equivalent, depth + 1)
        return described

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)) in TAGS):
            for key in value:
                self._pay(len(key))
            return {key: self.encode(item, depth + 1) for key, item in value.items()}
        return {"dict": [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]}

    def _large_int(self, value: int) -> Any:
        self._pay(value.bit_length() // 4)
        return {"int": hex(value)}

    def _pay(self, characters: int) -> None:
        self.left -= characters >> 5
        if characters > MAX_TEXT or self.left < 0:
            raise TooLarge


SCALARS = frozenset({type(None), bool, int, float, str, bytes, complex})  # plain, and never change
_PLAIN = SCALARS | {list, dict, tuple, set, frozenset}


def plain_equivalent(value: Any) -> tuple[bool, Any]:
    """Asks base classes rather than `value`, so that what a subclass overrides is not called."""
    kind = type(value)
    if kind in _PLAIN:
        return True, value
    names = {(base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__}
    if ("numpy", "generic") in names:
        item = value.item()
        return type(item) in _PLAIN, item
    if ("numpy", "ndarray") in names or ("pandas", "Series") in names:
        if value.size > MAX_NODES:
            raise TooLarge
        return True, value.tolist()
    for base, copy in _COPIES.items():
        if issubclass(kind, base):
            return True, copy(value)
    return False, None


_COPIES: dict[type, Any] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    complex: lambda value: complex(complex.__add__(value, 0)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}


def type_name_of(kind: type) -> str:
    try:
        module, name = kind.__module__, kind.__qualname__
        return clean(name if module == "builtins" else f"{module}.{name}")[:200]
    except BaseException:  # a metaclass may do anything
        return "object"


def text_of(value: Any) -> str:
    try:
        text = str(value)
        return clean(text)
    except BaseException as error:  # the object's own code may raise anything
        return f"<no text: {type_name_of(type(error))}>"


def _convert(value: Any, max_depth: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name in _CONVERSIONS:
        try:
            if name == "list":
                items = list(islice(value, MAX_LIST + 1))
                if len(items) > MAX_LIST:
                    continue
                results[name] = _Encoder(max_depth).encode(items, 0)
            else:
                results[name] = _Encoder(max_depth).encode(_exact(name, value), 0)
        except BaseException:  # noqa: S112 (the object's own code may raise anything; then this conversion has no result)
            continue
    return results


def _exact(name: str, value: Any) -> Any:
    if name == "str":
        return str.__str__(str(value))
    if name == "int":
        return int.__int__(int(value))
    return float.__float__(float(value))


# ---- in ------------------------------------------------------------------------------------------------------------


def decode(tagged: Any, *, equivalents: bool = False, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `tagged` stands for; objects come as `Opaque`.

    With `equivalents`, an object that has a plain equivalent comes as that. Raises Malformed, which names the place as
    `$.key[0]`, for everything that does not follow the format or is deeper or larger than may cross.
    """
    return _Decoder(equivalents, max_depth).decode(tagged, "$", 0)


class _Decoder:
    def __init__(self, equivalents: bool, max_depth: int) -> None:
        self.equivalents = equivalents
        self.max_depth = max_depth
        self.left = MAX_NODES

    def decode(self, tagged: Any, path: str, depth: int) -> Any:
        self.left -= 1
        if depth > 2 * self.max_depth:  # a tag is a level of its own
            raise Malformed(f"{path[:200]}: nested deeper than {self.max_depth} levels")
        if self.left < 0:
            raise Malformed(f"{path}: more than {MAX_NODES} values")
        kind = type(tagged)
        if tagged is None or kind is str or kind is int or kind is bool:
            return tagged
        if kind is float:
            if not math.isfinite(tagged):
                raise Malformed(f"{path}: {tagged} is written {{float: {tagged}}}")
            return tagged
        if kind is list:
            return [self.decode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(tagged)]
        if kind is not dict:
            raise Malformed(f"{path}: {kind.__name__} is not part of the format")
        if len(tagged) == 1:
            (tag,) = tagged
            if tag in TAGS:
                return self._tagged(tag, tagged[tag], f"{path}.{tag}", depth + 1)
        for key in tagged:
            if type(key) is not str:
                raise Malformed(f"{path}: key {key!r} is not a string; write {{dict: [[key, value], ...]}}")
        return {key: self.decode(item, f"{path}.{key}", depth + 1) for key, item in tagged.items()}

    def _tagged(self, tag: str, body: Any, path: str, depth: int) -> Any:
        match tag:
            case "tuple":
                return tuple(self._items(body, path, depth))
            case "set" | "frozenset":
                return self._set(tag, body, path, depth)
            case "dict":
                return self._pairs(body, path, depth)
            case "float":
                if type(body) is not str or body not in _FLOATS:
                    raise Malformed(f"{path}: must be 'nan', 'inf' or '-inf'")
                return _FLOATS[body]
            case "int":
                if type(body) is not str or not _HEX_INT.fullmatch(body):
                    raise Malformed(f"{path}: must be hexadecimal text such as '0x1f'")
                return int(body, 16)
            case "bytes":
                return self._bytes(body, path)
            case "complex":
                return self._complex(body, path, depth)
            case _:
                return self._object(body, path, depth)

    def _items(self, body: Any, path: str, depth: int) -> list[Any]:
        if type(body) is not list:
            raise Malformed(f"{path}: must be a list")
        return [self.decode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(body)]

    def _set(self, tag: str, body: Any, path: str, depth: int) -> Any:
        items = self._items(body, path, depth)
        for i, item in enumerate(items):
            self._hashable(item, f"{path}[{i}]")
        return set(items) if tag == "set" else frozenset(items)

    def _pairs(self, body: Any, path: str, depth: int) -> dict[Any, Any]:
        if type(body) is not list:
            raise Malformed(f"{path}: must be a list of [key, value] pairs")
        pairs: dict[Any, Any] = {}
        for i, pair in enumerate(body):
            if type(pair) is not list or len(pair) != 2:
                raise Malformed(f"{path}[{i}]: must be a [key, value] pair")
            key = self.decode(pair[0], f"{path}[{i}][0]", depth + 1)
            self._hashable(key, f"{path}[{i}][0]")
            pairs[key] = self.decode(pair[1], f"{path}[{i}][1]", depth + 1)
        return pairs

    def _hashable(self, value: Any, path: str) -> None:
        try:
            hash(value)
        except TypeError:
            raise Malformed(f"{path}: a {type(value).__name__} cannot be a key or a member of a set") from None

    def _bytes(self, body: Any, path: str) -> bytes:
        try:
            if type(body) is str and body.isascii() and " " not in body:
                return bytes.fromhex(body)
        except ValueError:
            pass
        raise Malformed(f"{path}: must be hexadecimal digits, two a byte")

    def _complex(self, body: Any, path: str, depth: int) -> complex:
        parts = self._items(body, path, depth)
        if len(parts) != 2 or any(type(part) not in (int, float) for part in parts):
            raise Malformed(f"{path}: must be two numbers")
        try:
            return complex(*parts)
        except OverflowError:
            raise Malformed(f"{path}: a part is too large") from None

    def _object(self, body: Any, path: str, depth: int) -> Any:
        if type(body) is not dict or not {"type", "text"} <= body.keys() <= {"type", "text", "value", "conversions"}:
            raise Malformed(f"{path}: must be a mapping of type, text and perhaps value and conversions")
        if type(body["type"]) is not str or type(body["text"]) is not str:
            raise Malformed(f"{path}: type and text must be strings")
        conversions = body.get("conversions", {})
        if type(conversions) is not dict or not conversions.keys() <= set(_CONVERSIONS):
            raise Malformed(f"{path}.conversions: must map some of {', '.join(_CONVERSIONS)}")
        has_value = "value" in body
        value = self.decode(body["value"], f"{path}.value", depth + 1) if has_value else None
        if has_value and self.equivalents:
            return value
        converted = {name: self.decode(item, f"{path}.conversions.{name}", depth + 1) for name, item in conversions.items()}
        return Opaque(body["type"], body["text"], value=value, has_value=has_value, conversions=converted)
