"""The codec of values: laws, and the edges of the format."""

from __future__ import annotations

import collections
import contextlib
import enum
import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest.snapshots import snapshot
from sandbox.guest.values import MAX_DEPTH, MAX_NODES, Malformed, Opaque, decode, encode, plain

scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(1 << 90), max_value=1 << 90)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.complex_numbers()
)
keys = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["tuple", "set", "float", "object", "dict"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal in type and value all the way down; nan is nan, and -0.0 is not 0.0."""
    return type(left) is type(right) and repr(left) == repr(right)


@given(values)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    through_json = json.loads(json.dumps(encode(value), allow_nan=False))
    back = decode(through_json)
    assert plain(value)
    assert same(back, value) or (back == value and type(back) is type(value))


@given(values)
def test_a_snapshot_encodes_as_the_value_does(value: Any) -> None:
    assert encode(snapshot(value)) == encode(value)


@given(
    st.recursive(
        scalars | st.sampled_from(["0x", "nan", b"", range(2)]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tuple", "set", "dict", "float", "int", "bytes", "complex", "object", "x"]), inner, max_size=2
            )
        ),
        max_leaves=10,
    )
)
def test_whatever_is_decoded_is_a_value_or_malformed(tagged: Any) -> None:
    value: Any = None
    with contextlib.suppress(Malformed):
        value = decode(tagged)
    assert isinstance(value, Opaque | None | bool | int | float | str | bytes | complex | list | tuple | set | frozenset | dict)


@pytest.mark.parametrize(
    ("tagged", "message"),
    [
        ({"a": [1, {"float": "x"}]}, "$.a[1].float: must be 'nan', 'inf' or '-inf'"),
        ({1: 2}, "$: key 1 is not a string; write {dict: [[key, value], ...]}"),
        ({"set": [[1]]}, "$.set[0]: a list cannot be a key or a member of a set"),
        ({"dict": [[{"set": []}, 1]]}, "$.dict[0][0]: a set cannot be a key or a member of a set"),
        ({"dict": [[1]]}, "$.dict[0]: must be a [key, value] pair"),
        ({"int": "12"}, "$.int: must be hexadecimal text such as '0x1f'"),
        ({"bytes": "abc"}, "$.bytes: must be hexadecimal digits, two a byte"),
        ({"complex": [1]}, "$.complex: must be two numbers"),
        ([float("nan")], "$[0]: nan is written {float: nan}"),
        ((1, 2), "$: tuple is not part of the format"),
        ({"object": {"type": "x"}}, "$.object: must be a mapping of type, text and perhaps value and conversions"),
    ],
)
def test_what_is_malformed_is_named_with_its_place(tagged: Any, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(tagged)
    assert str(caught.value) == message


def test_what_is_nested_too_deeply_is_malformed_rather_than_a_recursion_error() -> None:
    tagged: Any = 1
    for _ in range(100_000):
        tagged = [tagged]
    with pytest.raises(Malformed, match="nested deeper than"):
        decode(tagged)
    while type(tagged) is list:  # taken apart by hand: the interpreter would recurse
        tagged = tagged[0]


def test_more_values_than_may_cross_are_malformed() -> None:
    with pytest.raises(Malformed, match="more than"):
        decode([0] * (MAX_NODES + 1))


class Colour(enum.IntEnum):
    RED = 3


class Hostile(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __int__(self) -> int:
        raise RuntimeError

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("value", "equivalent"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (pd.Series([1, 2]), [1, 2]),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(x=1), {"x": 1}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        (Colour.RED, 3),
        (Hostile(7), 7),
    ],
)
def test_what_has_a_plain_equivalent_carries_it(value: Any, equivalent: Any) -> None:
    for tagged in (encode(value), encode(snapshot(value))):
        opaque = decode(tagged)
        assert isinstance(opaque, Opaque)
        assert opaque.has_value
        assert same(opaque.value, equivalent)
        assert same(decode(tagged, equivalents=True), equivalent)
    assert not plain(value)


def test_a_snapshot_does_not_change_with_its_value() -> None:
    for value in ([1, [2]], {"a": [1]}, np.arange(3), collections.deque([1])):
        before, taken = encode(value), snapshot(value)
        match value:
            case list():
                value[1].append(3)
            case dict():
                value["a"].append(3)
            case np.ndarray():
                value[0] = 9
            case _:
                value.append(9)
        assert encode(taken) == before


def test_conversions_are_given_where_they_do_not_raise() -> None:
    opaque = decode(encode(map(str, [1, 2]), conversions=True))
    assert opaque.type == "map"
    assert opaque.conversions["list"] == ["1", "2"]
    assert set(opaque.conversions) == {"str", "list"}


def test_encoding_alone_advances_no_iterator() -> None:
    numbers = iter([1, 2])
    encode(numbers)
    snapshot(numbers)
    assert list(numbers) == [1, 2]


def test_an_endless_iterator_has_no_list() -> None:
    assert "list" not in decode(encode(itertools.count(), conversions=True)).conversions


def test_a_list_in_itself_becomes_an_object() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    assert encode(endless) == {"object": {"type": "list", "text": "[1, [...]]"}}
    assert not plain(endless)


def test_what_is_too_large_becomes_an_object_of_bounded_size() -> None:
    for value in (list(range(10 * MAX_NODES)), "x" * 50_000_000, 1 << 10_000_000, np.zeros(10 * MAX_NODES)):
        assert "object" in encode(value)
        assert len(json.dumps(encode(value))) < 2_000_000


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = (value,)
    assert decode(encode(value)) == value
    assert "object" in encode((value,))


def test_objects_that_raise_at_every_touch_are_encoded() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise RuntimeError

    class Never(metaclass=Meta):
        def __str__(self) -> str:
            raise SystemExit(1)

    assert encode(Never(), conversions=True)["object"]["conversions"] == {}
    assert encode([snapshot(Never())])[0]["object"]["text"].startswith("<no text")


def test_minus_zero_and_nan_survive() -> None:
    assert math.copysign(1, decode(encode(-0.0))) == -1
    assert math.isnan(decode(encode(float("nan"))))
