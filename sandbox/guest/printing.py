"""`print` as the program sees it, and what is remembered of its calls."""

from __future__ import annotations

import sys
from itertools import count
from typing import Any, TextIO

from sandbox.guest.snapshots import snapshot
from sandbox.guest.values import SCALARS, clean, encode

_print = print
MAX_WRITTEN = 65_536  # characters kept of what one call wrote


# Snapshots of the arguments, the first argument itself, separator, end, and the text; None when all arguments are scalars, for
# then it can be made when it is asked for. A bare tuple, because programs print a million times.
_Call = tuple[tuple[Any, ...], tuple[Any, ...], Any, Any, str | None]


class _Tee:
    """What print writes to when its text is wanted: passes all on, and keeps the pieces."""

    def __init__(self, out: TextIO) -> None:
        self.pieces: list[str] = []
        self.out = out

    def write(self, text: str) -> int:
        written = self.out.write(text)
        self.pieces.append(text)
        return written

    def flush(self) -> None:
        self.out.flush()


class Recorder:
    """Wraps `print`, and remembers of the calls to stdout how many there were and what the last one was given."""

    def __init__(self, stdout: TextIO) -> None:
        self._numbers = count()
        self._last: _Call | None = None
        self.count = 0
        self.print = self._wrapper(stdout)

    def _wrapper(self, stdout: TextIO) -> Any:
        numbers, scalars, system = self._numbers, SCALARS, sys

        def print(*args: Any, sep: Any = " ", end: Any = "\n", file: Any = None, flush: Any = False) -> None:  # noqa: A001
            target = getattr(system, "stdout", None) if file is None else file
            if target is None or (file is not None and file is not stdout):
                _print(*args, sep=sep, end=end, file=file, flush=flush)
                return
            if scalars.issuperset(map(type, args)):
                if sep == " " and end == "\n" and not flush and file is None:
                    _print(*args)
                else:
                    _print(*args, sep=sep, end=end, file=file, flush=flush)
                call: _Call = (args, args[:1], sep, end, None)
            else:
                tee = _Tee(target)
                _print(*args, sep=sep, end=end, file=tee, flush=flush)
                # print writes argument, separator, argument, ..., end, each by a call of its own.
                pieces = tee.pieces
                snapshots = tuple([snapshot(arg, pieces[2 * i]) for i, arg in enumerate(args)])
                call = (snapshots, args[:1], sep, end, "".join(pieces)[:MAX_WRITTEN])
            self._last = call
            self.count = next(numbers) + 1

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(print, name, getattr(_print, name))
        return print

    def last(self) -> dict[str, Any] | None:
        """The last call as the fields of `Printed`; looks at its first argument as it is now, which may use an iterator up."""
        call = self._last
        if call is None:
            return None
        snapshots, first, sep, end, text = call
        if text is None:
            text = (" " if sep is None else sep).join(map(_short, snapshots)) + ("\n" if end is None else end)
        return {
            "argument_count": len(snapshots),
            "arguments": [encode(value) for value in snapshots[:MAX_ARGUMENTS]],
            "first_at_end": encode(first[0], conversions=True) if first else None,
            "text": clean(text[:MAX_WRITTEN]),
        }


MAX_ARGUMENTS = 1000  # of one call that are reported


def _short(value: Any) -> str:
    return value[:MAX_WRITTEN] if type(value) is str else str(value)
