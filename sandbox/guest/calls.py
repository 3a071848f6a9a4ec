"""Calls of a function that lives in another box: a line each way, arguments and results as tagged JSON."""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable
from json import encoder as json_encoder
from typing import Any

from sandbox.guest.values import Opaque, clean, decode, encode

MAX_LINE = 16 << 20
CALL_DEPTH = 10_000  # arguments may be linked lists
_RECURSION = 100_000

_read, _write = os.read, os.write
_loads = json.loads
_get_limit, _set_limit = sys.getrecursionlimit, sys.setrecursionlimit


def _refuse(value: Any) -> Any:
    raise ValueError(f"{type(value).__name__} has no place in tagged JSON")


# The C encoder itself has no part in Python that a program could patch.
_encode_json = json_encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _refuse, json_encoder.encode_basestring_ascii, None, ":", ",", False, False, False
)


def to_json(value: Any) -> bytes:
    return "".join(_encode_json(value, 0)).encode("ascii")


class Line:
    """Whole lines over a descriptor that only this process reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""

    def send(self, data: bytes) -> None:
        view = memoryview(data + b"\n")
        while view:
            view = view[_write(self._descriptor, view) :]

    def receive(self) -> bytes | None:
        """The next line, or None when there will be none."""
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                return line
            chunk = _read(self._descriptor, 1 << 16)
            if not chunk:
                return None
            self._buffer += chunk


def _deep(action: Callable[[], Any]) -> Any:
    """`action()` with room for deep structures, whatever recursion limit the program has set."""
    limit = _get_limit()
    _set_limit(_RECURSION)
    try:
        return action()
    finally:
        _set_limit(limit)


def serve(line: Line, namespace: dict[str, Any], entry_point: str) -> None:
    """Answer calls of `entry_point` until the other side ends. SystemExit in a call ends the program, as everywhere."""
    while (request := line.receive()) is not None:
        line.send(_answer(request, namespace, entry_point))


def _answer(request: bytes, namespace: dict[str, Any], entry_point: str) -> bytes:
    call = _deep(lambda: decode(_loads(request), max_depth=CALL_DEPTH))
    args, kwargs = call["args"], call["kwargs"]
    try:
        if entry_point not in namespace:
            raise NameError(f"name {entry_point!r} is not defined")
        result = namespace[entry_point](*args, **kwargs)
    except SystemExit:
        raise
    except BaseException as error:  # crosses to the test, which may expect it
        return to_json({"raised": {"type": _builtin_name(error), "text": _text(error)}})
    answer: bytes = _deep(lambda: _returned(request, result, args, kwargs))
    return answer


def _returned(request: bytes, result: Any, args: Any, kwargs: Any) -> bytes:
    returned: dict[str, Any] = {"return": encode(result, max_depth=CALL_DEPTH)}
    after = to_json({"args": encode(args, max_depth=CALL_DEPTH), "kwargs": encode(kwargs, max_depth=CALL_DEPTH)})
    if after != request:
        returned.update(_loads(after))
    return to_json(returned)


def _builtin_name(error: BaseException) -> str:
    """The nearest built-in exception, because that is what the test can name."""
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins" and issubclass(kind, Exception):
            return kind.__name__
    return "Exception"


def _text(error: BaseException) -> str:
    try:
        return clean(str(error))[:2000]
    except BaseException:  # the exception's own code may raise anything
        return ""


class Proxy:
    """Stands in the test for the function in the other box."""

    def __init__(self, name: str, line: Line) -> None:
        self.__name__ = self.__qualname__ = name
        self._line = line

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = _deep(
            lambda: to_json({"args": encode(list(args), max_depth=CALL_DEPTH), "kwargs": encode(kwargs, max_depth=CALL_DEPTH)})
        )
        self._line.send(request)
        answer = self._line.receive()
        if answer is None:
            raise SystemExit("the program has ended")
        reply = _deep(lambda: _loads(answer))
        if "raised" in reply:
            raise _rebuilt(reply["raised"])
        if "args" in reply:
            changed = _deep(lambda: decode([reply["args"], reply["kwargs"]], equivalents=True, max_depth=CALL_DEPTH))
            restore(list(args), changed[0])
            restore(kwargs, changed[1])
        return _deep(lambda: decode(reply["return"], equivalents=True, max_depth=CALL_DEPTH))


def _rebuilt(raised: Any) -> Exception:
    kind, text = str(raised["type"]), str(raised["text"])
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(text)
        except TypeError:  # UnicodeDecodeError and the like want more than a text
            pass
    return Exception(f"{kind}: {text}")


def restore(old: Any, new: Any) -> Any:
    """Make the mutable `old` equal to `new`, in place; what cannot be changed in place is replaced."""
    if type(old) is list and type(new) is list:
        old[:] = [restore(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
        return old
    if type(old) is dict and type(new) is dict:
        merged = {key: restore(old[key], item) if key in old else item for key, item in new.items()}
        old.clear()
        old.update(merged)
        return old
    if type(old) is set and type(new) is set:
        old.clear()
        old.update(new)
        return old
    return old if isinstance(new, Opaque) else new
