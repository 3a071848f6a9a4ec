"""The `strict` rules of grading: a program passes when it finishes and its output is, or reads exactly like, what is expected.

The output is the last print call's, as printed; or, when nothing was printed after it, the value of a last bare expression that
is not None. Nothing here runs what came out of the box: values arrive as tagged JSON and are only compared.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.grade import ended_early
from harness.nouns import Check, Prints, Reason, Verdict
from harness.protocols import Rules
from sandbox import Ending, Execution
from sandbox.guest.values import Malformed, Opaque, decode

RTOL = 1e-6
ATOL = 1e-9
SHOWN = 100  # characters of a value in a detail
TOO_LONG = "an integer too long to write"


def judge(check: Check, execution: Execution) -> Verdict:
    """What the strict rules make of an execution. Raises TypeError for a check that does not look at prints."""
    if not isinstance(check, Prints):
        raise TypeError(f"these rules judge what is printed, not {type(check).__name__}")
    if (early := ended_early(execution)) is not None:
        return replace(early, detail=f"{early.detail} before the end") if execution.ending is Ending.EXITED else early
    output = _output(execution)
    if output is None:
        return Verdict(Reason.NO_OUTPUT, "wrote to stdout, but not by print" if execution.stdout_bytes else "")
    tolerance = Tolerance(RTOL if check.rtol is None else check.rtol, ATOL if check.atol is None else check.atol)
    if output.text in _readings(check.value) or any(same(value, check.value, tolerance) for value in output.values):
        return Verdict(Reason.PASS)
    return Verdict(Reason.WRONG, f"expected {shorten(check.value)}, {output.verb} {_one_line(output.text)}")


STRICT = Rules("strict", "1", judge)


@dataclass(frozen=True, slots=True)
class _Output:
    verb: str  # "printed" or "last expression is"
    text: str  # as it reads on screen, without the final newline
    values: Sequence[Any]  # what it may be taken for


def _output(execution: Execution) -> _Output | None:
    if execution.last_expression is not None and not execution.printed_in_last_expression:
        return _Output("last expression is", _text(execution.last_expression), _plain([execution.last_expression]))
    printed = execution.last_print
    if printed is None:
        return None
    values = _plain(printed.arguments)
    if len(values) != printed.argument_count:  # more than was kept
        values = []
    elif len(values) > 1:
        values = [tuple(values)]
    return _Output("printed", printed.text.removesuffix("\n"), values)


def _plain(tagged: Sequence[Any]) -> list[Any]:
    """The values, objects as their plain equivalents; none when one of them makes no sense."""
    try:
        return [decode(each, equivalents=True) for each in tagged]
    except Malformed:
        return []


# ---- reads exactly like it ----


def _readings(value: Any) -> tuple[str, ...]:
    try:
        return (str(value), repr(value))
    except ValueError:  # an integer too long for Python to write
        return ()


def _text(tagged: Any) -> str:
    """How the value reads when it is printed."""
    try:
        value = decode(tagged)
    except Malformed:
        return ""
    return value.text if isinstance(value, Opaque) else (_readings(value) or (TOO_LONG,))[0]


def shorten(value: Any) -> str:
    """`repr` on one line of bounded length."""
    return _one_line((_readings(value) or (TOO_LONG,))[-1])


def _one_line(text: str) -> str:
    text = text[: 2 * SHOWN].replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


# ---- is it ----


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Floats are equal when they differ by at most `atol + rtol * |expected|`."""

    rtol: float = RTOL
    atol: float = ATOL


def same(found: Any, expected: Any, tolerance: Tolerance) -> bool:
    """Whether `found` is the expected value.

    Numbers compare by value, with the tolerance when one of them is a float; nan equals nan; a bool equals only a bool. A list
    is equalled by a list, a tuple, an array or a Series of equal elements; a tuple only by a tuple, a set by a set or a
    frozenset, a dict by a mapping of equal keys and values in any order. What is no plain data equals nothing.
    """

    def alike(one: Any, other: Any) -> bool:
        return same(one, other, tolerance)

    def alike_items(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
        return alike(one[0], other[0]) and alike(one[1], other[1])

    equal = False
    match expected:
        case None | bool():
            equal = found is expected
        case int() | float() | complex():
            equal = _same_number(found, expected, tolerance)
        case str() | bytes():
            equal = type(found) is type(expected) and found == expected
        case list():
            equal = isinstance(found, (list, tuple)) and _same_order(found, expected, alike)
        case tuple():
            equal = isinstance(found, tuple) and _same_order(found, expected, alike)
        case set() | frozenset():
            equal = isinstance(found, (set, frozenset)) and _same_members(list(found), list(expected), alike)
        case dict():
            equal = isinstance(found, dict) and _same_members([*found.items()], [*expected.items()], alike_items)
    return equal


def _same_number(found: Any, expected: complex, tolerance: Tolerance) -> bool:
    if isinstance(found, bool) or not isinstance(found, (int, float, complex)):
        return False
    if isinstance(found, int) and isinstance(expected, int):
        return found == expected
    if isinstance(found, complex) and not isinstance(expected, complex):
        return False
    try:
        if cmath.isfinite(found) and cmath.isfinite(expected):
            return abs(found - expected) <= tolerance.atol + tolerance.rtol * abs(expected)
    except OverflowError:  # an integer beyond every float
        return False
    return _same_part(found.real, expected.real) and _same_part(found.imag, expected.imag)


def _same_part(found: float, expected: float) -> bool:
    return found == expected or (math.isnan(found) and math.isnan(expected))


def _same_order(found: Sequence[Any], expected: Sequence[Any], alike: Callable[[Any, Any], bool]) -> bool:
    return len(found) == len(expected) and all(map(alike, found, expected))


def _same_members(found: list[Any], expected: list[Any], alike: Callable[[Any, Any], bool]) -> bool:
    if len(found) != len(expected):
        return False
    for member in expected:
        index = next((index for index, other in enumerate(found) if alike(other, member)), None)
        if index is None:
            return False
        del found[index]
    return True
