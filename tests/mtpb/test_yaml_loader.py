"""YAML reads as it looks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtpb.yaml_loader import MAX_DEPTH, YamlError, load
from mtpb.yaml_writer import dump


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("no", "No", "yes", "on", "off", "y", "n", "None", "nan", "inf")),
        *(
            (text, text)
            for text in ("12:30", "1:30:00", "2020-01-01", "2020-01-01 10:00:00", "1.2.3", "1e", "0b101", "0x", ".", "+")
        ),
        ("null", None),
        ("~", None),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("0o12", 10),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.50", -1.5),
        ("1e-05", 0.00001),
        ("'012'", "012"),
        ('"null"', "null"),
        ("''", ""),
        ("|\n  12\n", "12\n"),
        (">-\n  a\n  b\n", "a b"),
        ("[1, two, 3.0, no]", [1, "two", 3.0, "no"]),
        ("{tuple: [1, 2]}", {"tuple": [1, 2]}),
        ("no: 1", {"no": 1}),
        ("2020-01-01: a", {"2020-01-01": "a"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("=", "="),
        ("é: ü", {"é": "ü"}),
        ("%YAML 1.1\n---\nno", "no"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    found = load(text).value
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "a: 012",
            1,
            "012 begins with a zero, which readers take for different numbers; write 12, 0o12 for octal, or '012' in quotes",
        ),
        ("a: -08", 1, "write -8, or '-08' in quotes"),
        ("a: 00", 1, "write 0, 0o0 for octal"),
        ("a: 1_000", 1, "write 1000, or '1_000' in quotes"),
        ("a:\n  - .nan", 2, "write {float: nan}"),
        ("a: -.INF", 1, "write {float: -inf}"),
        ("a: 1e999", 1, "write {float: inf}"),
        ("a: " + "9" * 5000, 1, "an integer of 5000 digits is too long"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' stands twice, first on line 1; keep one"),
        ("a: {b: 1,\n  b: 2}", 2, "the key 'b' stands twice"),
        ("a:\nb: 1", 1, "the value is missing; write null"),
        ("a: &x 1\nb: 2", 1, "anchors and aliases"),
        ("a: 1\nb: *x", 2, "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", 1, "the tag tag:yaml.org,2002:python/object/apply:os.system is not read"),
        ("a: !custom 1", 1, "the tag !custom is not read; write a one-key mapping instead"),
        ("a: !!set {b, c}", 1, "the tag tag:yaml.org,2002:set is not read"),
        ("a: !!str 5", 1, "the tag tag:yaml.org,2002:str is not read"),
        ("a:\n  1: b", 2, "the key 1 is not a string; quote it, or write {dict: [[key, value], ...]}"),
        ("null: b", 1, "the key None is not a string"),
        ("? [a, b]\n: c", 1, "the key ['a', 'b'] is not a string"),
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("a: 1\n---\nb: 2", 2, "a second document begins here"),
        ("a: 1\n b: 2", 2, "this is not YAML"),
        ("a: 'open", 1, "close the quotes"),
        ("a: key=lambda x: x", 1, "quote a text that holds ': ', or put it on lines of its own under `|`"),
        ("a: @b", 1, "quote a text that begins with this character"),
        ("a: {b: 1", 1, "close the brace"),
        ("a: 1\n\tb: 2", 2, "this is not YAML"),
        ("a: [1, 2", 1, "close the bracket"),
        ("a: 1\nb: \x07", 2, "the character U+0007 cannot stand in YAML"),
        ("[" * (MAX_DEPTH + 2), 1, f"nested more than {MAX_DEPTH} deep"),
        ("[" * 20000, 1, f"nested more than {MAX_DEPTH} deep"),
    ],
)
def test_what_readers_could_take_for_two_things_is_refused_with_its_line_and_a_remedy(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    first = caught.value.flaws[0]
    assert (first.line, words in first.message) == (line, True), first


def test_all_bad_values_of_a_file_are_told_at_once() -> None:
    with pytest.raises(YamlError) as caught:
        load("a: 012\nb: .nan\nc: fine\na: 1\n")
    assert [flaw.line for flaw in caught.value.flaws] == [1, 2, 4]


def test_every_node_knows_its_line() -> None:
    document = load("a: 1\nb:\n  - x\n  - y: [1,\n      2]\n")
    assert [document.line(path) for path in [(), ("a",), ("b",), ("b", 0), ("b", 1, "y"), ("b", 1, "y", 1)]] == [
        1,
        1,
        2,
        3,
        4,
        5,
    ]


def test_an_unknown_node_has_the_line_of_the_nearest_one_around_it() -> None:
    assert load("a: 1\nb:\n  - x\n").line(("b", 0, "missing", 7)) == 3


TRICKY = [
    "no",
    "~",
    "null",
    "",
    "<<",
    "1e3",
    "012",
    ".nan",
    "- a",
    "a: b",
    "# c",
    "a #",
    "\n",
    "a\n",
    "  a",
    "a\n\nb ",
    "word " * 60,
]
STRINGS = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.from_regex(r"[-+]?[0-9_.eExo:]{1,8}", fullmatch=True)
    | st.sampled_from(TRICKY)
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STRINGS


@settings(max_examples=300, deadline=None)
@given(st.recursive(SCALARS, lambda values: st.lists(values) | st.dictionaries(STRINGS, values), max_leaves=8))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert repr(load(dump(value)).value) == repr(value)
