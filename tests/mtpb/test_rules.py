"""The strict rules: a program passes when it finishes, and its output is, or reads exactly like, the expected value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nouns import Asserts, Prints, Reason, Verdict
from mtpb.rules import SHOWN, STRICT, Tolerance, judge, same
from sandbox import Ending, Execution, Printed
from sandbox.guest.values import encode

NAN, INF = math.nan, math.inf


class Thing:
    """Opaque in the box's report, unless it has a plain equivalent."""

    def __init__(self, text: str, **value: Any) -> None:
        self.tagged = {"object": {"type": "module.Thing", "text": text, **value}}


def tagged(value: Any) -> Any:
    if isinstance(value, list):
        return [tagged(each) for each in value]
    return value.tagged if isinstance(value, Thing) else encode(value)


def printed(*arguments: Any, text: str | None = None, **facts: Any) -> Execution:
    """What the box reports of a program that ends with `print(*arguments)`."""
    if text is None:
        text = " ".join(each.tagged["object"]["text"] if isinstance(each, Thing) else str(each) for each in arguments) + "\n"
    values = [tagged(argument) for argument in arguments]
    call = Printed(len(arguments), values, values[0] if values else None, text)
    return Execution(Ending.FINISHED, stdout=text, stdout_bytes=len(text), print_count=1, last_print=call, **facts)


def array(value: list[Any]) -> Thing:
    return Thing(str(value).replace(",", ""), value=encode(value))


PASSES: list[tuple[Any, Any]] = [
    (42, 42),
    (42, 42.0),
    (42.0, 42),
    (42, "42"),
    ("42", 42),
    (0.1 + 0.2, 0.3),
    (1e9, 1e9 + 1),
    (0.0, 1e-10),
    (NAN, NAN),
    (INF, INF),
    (1 << 70, 1 << 70),
    (10**5000, 10**5000),
    (1 + 2j, 1 + 2.0000000001j),
    (2 + 0j, 2),
    (True, True),
    (True, "True"),
    (None, None),
    (None, "None"),
    ("abc", "abc"),
    ("abc", "'abc'"),
    ("", ""),
    ("a\nb", "a\nb"),
    (b"ab", b"ab"),
    (b"ab", "b'ab'"),
    ([1, 2], [1, 2]),
    ([1, 2], (1, 2)),
    ([1, 2], array([1, 2])),
    ([1, 2], array([1.0, 2.0])),
    ([1, 2], "[1, 2]"),
    ([], []),
    ([], ()),
    ([[1, 2], [3, 4]], [array([1, 2]), (3, 4)]),
    ([0.3, NAN], [0.1 + 0.2, NAN]),
    ((1, 2), (1, 2)),
    (([1], 2), ((1,), 2)),
    ((1, 2), "(1, 2)"),
    ({1, 2}, {2, 1}),
    ({1, 2}, frozenset({1, 2})),
    (frozenset({1}), {1}),
    ({0.3}, {0.1 + 0.2}),
    ({NAN}, {float("nan")}),
    (set(), set()),
    ({"a": 1}, {"a": 1.0}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "a"}, {1: "a"}),
    ({(1, 2): [3]}, {(1, 2): (3,)}),
    ({"set": [1]}, {"set": [1]}),
    ({"a": 1}, Thing("Counter({'a': 1})", value={"a": 1})),
    (5, Thing("5", value=5)),
    (True, Thing("True", value=True)),
    (0.5, Thing("0.5")),
    ("1/2", Thing("1/2")),
    ([1, 2], Thing("[1, 2]")),
]

FAILS: list[tuple[Any, Any]] = [
    (42, 42.9),
    (42, 41),
    (42, "42.0"),
    (42, "42 "),
    (42, "answer: 42"),
    (42, [42]),
    (42, None),
    (42, array([42])),
    (1, True),
    (0, False),
    (True, 1),
    (True, 1.0),
    (False, 0),
    (False, None),
    (None, False),
    (None, ""),
    (None, 0),
    (True, "true"),
    (1.0, 1.00001),
    (0.0, 1e-8),
    (NAN, 0.0),
    (0.0, NAN),
    (INF, -INF),
    (INF, 1e308),
    (1e308, INF),
    (1 << 70, (1 << 70) + 1),
    (1.5, 10**400),
    (10**400, 1.5),
    (1, 1 + 0j),
    (1, 1 + 1j),
    ("abc", "ABC"),
    ("abc", "abc "),
    ("abc", ["a", "b", "c"]),
    ("abc", b"abc"),
    (b"abc", "abc"),
    (["a", "b", "c"], "abc"),
    ([1, 2], "1 2"),
    ([1, 2], "[1,2]"),
    ([1, 2], [1, 2, 3]),
    ([1, 2], [2, 1]),
    ([1, 2], {1, 2}),
    ([1, 2], {1: 0, 2: 0}),
    ([1], 1),
    ([1, 0], [True, False]),
    ([True], [1]),
    ([0, 1], Thing("range(0, 2)")),
    ([1, 2], Thing("<map object>", conversions={"list": [1, 2]})),
    ((1, 2), [1, 2]),
    ((1, 2), array([1, 2])),
    (((1, 2),), ([1, 2],)),
    ({1, 2}, [1, 2]),
    ({1, 2}, {1, 2, 3}),
    ({1, 2}, {1, 3}),
    ({1}, {True}),
    (set(), {}),
    (set(), []),
    ({}, []),
    ({}, set()),
    ({"a": 1}, {"a": True}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, [("a", 1)]),
    ({"a": 1}, ["a"]),
    ({1: "a"}, {"1": "a"}),
    ({1: "a"}, {True: "a"}),
    (42, Thing("<Always equal>", conversions={"int": 42, "str": "42", "float": 42.0})),
    (5, Thing("5.0")),
]


def names(pairs: list[tuple[Any, Any]]) -> list[str]:
    return [f"{number}" for number, _ in enumerate(pairs)]


@pytest.mark.parametrize(("expected", "value"), PASSES, ids=names(PASSES))
def test_what_is_or_reads_like_the_expected_value_passes(expected: Any, value: Any) -> None:
    text = None if value != 10**5000 else "a number\n"
    assert judge(Prints(expected), printed(value, text=text)) == Verdict(Reason.PASS)


@pytest.mark.parametrize(("expected", "value"), FAILS, ids=names(FAILS))
def test_what_is_neither_fails(expected: Any, value: Any) -> None:
    assert judge(Prints(expected), printed(value)).reason is Reason.WRONG


@pytest.mark.parametrize(
    ("expected", "execution", "reason"),
    [
        # several arguments: the text, or the tuple of them
        ("1 2", printed(1, 2), Reason.PASS),
        ((1, 2), printed(1, 2), Reason.PASS),
        ([1, 2], printed(1, 2), Reason.PASS),
        ({1, 2}, printed(1, 2), Reason.WRONG),
        (42, printed("the answer is", 42), Reason.WRONG),
        (42, printed(42, "is the answer"), Reason.WRONG),
        ("a-b", printed("a", "b", text="a-b\n"), Reason.PASS),
        # no argument at all
        ("", printed(), Reason.PASS),
        ((), printed(), Reason.WRONG),
        (None, printed(), Reason.WRONG),
        # only the final newline is no part of the text
        ("42", printed("4", "2", text="42"), Reason.PASS),
        ("42\n", printed("4", "2", text="42\n\n"), Reason.PASS),
        ("42", printed("4", "2", text="42\n\n"), Reason.WRONG),
        (42, printed(42, text="42!"), Reason.PASS),
        # more arguments than were kept
        ((1, 2), Execution(Ending.FINISHED, print_count=1, last_print=Printed(3, [1, 2], 1, "1 2 3\n")), Reason.WRONG),
        # as printed, not as it is at the end
        ([1], Execution(Ending.FINISHED, print_count=1, last_print=Printed(1, [[1]], [1, 2], "[1]\n")), Reason.PASS),
        ([1, 2], Execution(Ending.FINISHED, print_count=1, last_print=Printed(1, [[1]], [1, 2], "[1]\n")), Reason.WRONG),
        # a last bare expression
        (42, Execution(Ending.FINISHED, last_expression=42), Reason.PASS),
        (42, Execution(Ending.FINISHED, last_expression="42"), Reason.PASS),
        (42, Execution(Ending.FINISHED, last_expression=41), Reason.WRONG),
        ("1/2", Execution(Ending.FINISHED, last_expression=Thing("1/2").tagged), Reason.PASS),
        ([1, 2], Execution(Ending.FINISHED, last_expression=array([1, 2]).tagged), Reason.PASS),
        (True, Execution(Ending.FINISHED, last_expression=False), Reason.WRONG),
        # ... stands before an earlier print, unless it printed itself
        (42, printed(7, last_expression=42), Reason.PASS),
        (7, printed(7, last_expression=42), Reason.WRONG),
        (7, printed(7, last_expression=None), Reason.PASS),
        (7, printed(7, last_expression=42, printed_in_last_expression=True), Reason.PASS),
        (42, printed(7, last_expression=42, printed_in_last_expression=True), Reason.WRONG),
        # nothing
        (42, Execution(Ending.FINISHED), Reason.NO_OUTPUT),
        (None, Execution(Ending.FINISHED), Reason.NO_OUTPUT),
        (42, Execution(Ending.FINISHED, stdout="42\n", stdout_bytes=3), Reason.NO_OUTPUT),
    ],
)
def test_the_output_is_the_last_print_or_a_last_expression(expected: Any, execution: Execution, reason: Reason) -> None:
    assert judge(Prints(expected), execution).reason is reason


@pytest.mark.parametrize(
    ("ending", "detail", "verdict"),
    [
        (Ending.RAISED, "ValueError: no", Verdict(Reason.ERROR, "ValueError: no")),
        (Ending.EXITED, "exit status 0", Verdict(Reason.ERROR, "exit status 0 before the end")),
        (Ending.TIMED_OUT, "cpu", Verdict(Reason.TIMEOUT, "cpu")),
        (Ending.MEMORY, "", Verdict(Reason.MEMORY)),
        (Ending.OUTPUT_LIMIT, "", Verdict(Reason.OUTPUT_LIMIT)),
        (Ending.KILLED, "signal 11", Verdict(Reason.CRASH, "signal 11")),
    ],
)
def test_only_a_finished_program_can_pass(ending: Ending, detail: str, verdict: Verdict) -> None:
    right = printed(42)
    assert judge(Prints(42), right).passed
    assert judge(Prints(42), Execution(ending, detail, last_print=right.last_print, print_count=1)) == verdict


def test_every_ending_has_a_verdict() -> None:
    assert all(isinstance(judge(Prints(42), Execution(ending)), Verdict) for ending in Ending)


def test_a_problem_can_bound_differences_itself() -> None:
    assert judge(Prints(100.0, rtol=0.01), printed(100.9)).passed
    assert not judge(Prints(100.0, rtol=0.0), printed(100.0000001)).passed
    assert judge(Prints(100.0, rtol=0.0, atol=0.5), printed([100.4][0])).passed
    assert not judge(Prints([0.0], rtol=0.0, atol=0.0), printed([1e-300])).passed


@pytest.mark.parametrize(
    ("expected", "execution", "detail"),
    [
        (42, printed(41), "expected 42, printed 41"),
        ("42", printed("41\n2"), "expected '42', printed 41\\n2"),
        (42, Execution(Ending.FINISHED, last_expression=[1]), "expected 42, last expression is [1]"),
        (42, Execution(Ending.FINISHED, stdout_bytes=3), "wrote to stdout, but not by print"),
        (10**5000, printed(1), "expected an integer too long to write, printed 1"),
        (
            1,
            Execution(Ending.FINISHED, last_expression=encode(10**5000)),
            "expected 1, last expression is an integer too long to write",
        ),
    ],
    ids=["print", "lines", "expression", "no print", "long expected", "long found"],
)
def test_the_detail_says_what_was_expected_and_what_came(expected: Any, execution: Execution, detail: str) -> None:
    assert judge(Prints(expected), execution).detail == detail


def test_details_are_short() -> None:
    detail = judge(Prints("x" * 10_000), printed("\n" * 10_000)).detail
    assert len(detail) < 2 * SHOWN + 40
    assert "\n" not in detail


@pytest.mark.parametrize(
    "nonsense", [{"tuple": 5}, {"object": 5}, {"float": "0"}, {"int": 1}, NAN, {1: 2}, {"object": {"type": 1, "text": 2}}]
)
def test_a_report_that_makes_no_sense_equals_nothing(nonsense: Any) -> None:
    call = Printed(1, [nonsense], nonsense, "<lies>\n")
    assert judge(Prints(0), Execution(Ending.FINISHED, print_count=1, last_print=call)).reason is Reason.WRONG
    assert judge(Prints(0), Execution(Ending.FINISHED, last_expression=nonsense)).reason is Reason.WRONG


def test_other_checks_are_not_for_these_rules() -> None:
    with pytest.raises(TypeError, match="these rules judge what is printed, not Asserts"):
        STRICT.judge(Asserts("def check(f): pass", "f"), printed(1))


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda values: (
        st.lists(values) | st.lists(values).map(tuple) | st.dictionaries(st.text() | st.integers() | st.floats(), values)
    ),
    max_leaves=8,
) | st.frozensets(st.integers() | st.text() | st.floats())


@given(PLAIN)
def test_every_plain_value_equals_itself_and_passes_when_printed(value: Any) -> None:
    assert same(value, value, Tolerance())
    assert judge(Prints(value), printed(value, text="something else\n")).passed


@given(PLAIN, PLAIN)
def test_values_that_python_calls_different_are_not_the_same_but_for_numbers_and_lists(one: Any, other: Any) -> None:
    if isinstance(one, (str, bytes, bool, type(None))) and one != other:
        assert not same(other, one, Tolerance())


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_numbers_compare_alike_alone_and_in_containers(one: float, other: float) -> None:
    alone = same(one, other, Tolerance())
    assert same([one], [other], Tolerance()) == alone
    assert same((one,), (other,), Tolerance()) == alone
    assert same({one}, {other}, Tolerance()) == alone
    assert same({one: 0}, {other: 0}, Tolerance()) == alone
    assert same({0: one}, {0: other}, Tolerance()) == alone
