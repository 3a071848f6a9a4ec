"""Placeholders are bare names with `!r` or `!s`, and nothing else."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpb.template import fill, placeholders, python_source


def test_a_template_names_its_placeholders() -> None:
    assert placeholders("Let {a!r} and {b_2!s} and {a!s}; {{c!r}}") == {"a", "b_2"}


@pytest.mark.parametrize(
    "brace", ["{a}", "{}", "{0}", "{a.b!r}", "{a[0]!r}", "{a!r:>3}", "{a:>3}", "{a!a}", "{ a!r}", "{a!r", "a}", "{", "}"]
)
def test_any_other_use_of_braces_is_refused(brace: str) -> None:
    with pytest.raises(ValueError, match=r"brace|say how"):
        placeholders(f"text {brace} text")


def test_a_placeholder_without_a_form_is_told_both() -> None:
    with pytest.raises(ValueError, match=r"\{a\}: say how to write it: \{a!r\} as Python source, \{a!s\} as text"):
        placeholders("Print {a}.")


@given(
    st.lists(st.sampled_from(["{{", "}}", "{a!r}", "{b!s}", "text", " ", "\n", "!r"])).map("".join),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    st.text() | st.lists(st.integers() | st.text()) | st.dictionaries(st.text(), st.integers()),
)
def test_a_template_is_filled_as_str_format_would(template: str, a: Any, b: Any) -> None:
    assert fill(template, {"a": a, "b": b}) == template.format(a=a, b=b)


VALUES: st.SearchStrategy[Any] = (
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda values: st.lists(values) | st.lists(values).map(tuple) | st.dictionaries(st.text() | st.integers(), values),
        max_leaves=6,
    )
    | st.sets(st.integers() | st.text())
    | st.frozensets(st.text())
)


@given(VALUES)
def test_python_source_evaluates_to_the_value(value: Any) -> None:
    back = eval(python_source(value), {"__builtins__": {"float": float, "set": set, "frozenset": frozenset}})  # noqa: S307
    assert type(back) is type(value)
    assert repr(back) == repr(value) or back == value


def test_nan_and_infinity_are_written_as_source_and_read_as_text() -> None:
    inputs = {"x": math.nan, "y": [math.inf]}
    assert fill("{x!r} {x!s} {y!r}", inputs) == "float('nan') nan [float('inf')]"


def test_a_set_is_written_the_same_in_every_process() -> None:
    code = "from mtpb.template import fill; print(fill('{s!r} {s!s}', {'s': {'a', 'b', 'c', 'd', 'e'}}))"
    texts = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2", "3")
    }
    assert texts == {b"{'a', 'b', 'c', 'd', 'e'} {'a', 'b', 'c', 'd', 'e'}\n"}


def test_a_missing_input_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("{a!r}", {})
