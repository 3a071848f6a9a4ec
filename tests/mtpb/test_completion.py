"""The completion protocol, as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.nouns import Case, Prints, Turn
from mtpb.completion import STOP, CompletionProtocol, cut
from mtpb.problem_file import load_problems

CASE = Case("c", ("First.", "Second.", "Third."), Prints(1))


def turn(prompt: str, code: str) -> Turn:
    return Turn(prompt, code, code)


def test_the_first_turn_sends_the_preamble_and_the_prompt_as_a_comment() -> None:
    assert CompletionProtocol().prompt(CASE, []) == "# Import libraries.\n\nimport numpy as np\n\n# First.\n"


def test_later_turns_send_the_code_kept_of_earlier_ones_each_with_a_blank_line() -> None:
    sent = CompletionProtocol().prompt(CASE, [turn("First.", "x = 1"), turn("Second.", "y = 2\n")])
    assert sent == "# Import libraries.\n\nimport numpy as np\n\n# First.\nx = 1\n\n# Second.\ny = 2\n\n\n# Third.\n"


def test_the_program_is_what_was_sent_and_what_came_back() -> None:
    turns = [turn(prompt, code) for prompt, code in zip(CASE.prompts, ("x = 1", "", "print(x)"), strict=True)]
    expected = "# Import libraries.\n\nimport numpy as np\n\n# First.\nx = 1\n\n# Second.\n\n\n# Third.\nprint(x)\n\n"
    assert CompletionProtocol().program(CASE, turns) == expected


def test_a_prompt_of_several_lines_is_sent_as_it_is() -> None:
    case = Case("c", ("One:\n# two",), Prints(1))
    assert CompletionProtocol().prompt(case, []).endswith("\n\n# One:\n# two\n")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x = 1\n", "x = 1\n"),
        ("", ""),
        ("  x\n ", "  x\n "),
        # 1. the second line that begins with print
        ("print(1)\nprint(2)\n", "print(1)\n"),
        ("print(1)\n  print(2)\nx print(3)\n", "print(1)\n  print(2)\nx print(3)\n"),
        ("print(1)\nprinter = 2\n", "print(1)\n"),
        ("x\nprint(1)\ny\nprint(2)\nz", "x\nprint(1)\ny\n"),
        # 2. then the second line that begins with def
        ("def f():\n  pass\ndef g():\n  pass\n", "def f():\n  pass\n"),
        ("default = 1\ndefinition = 2\n", "default = 1\n"),
        ("class A:\n  def f(self): pass\n  def g(self): pass\n", "class A:\n  def f(self): pass\n  def g(self): pass\n"),
        ("print(1)\ndef f(): pass\nprint(2)\ndef g(): pass\n", "print(1)\ndef f(): pass\n"),
        ("def f(): pass\nprint(1)\ndef g(): pass\nprint(2)\n", "def f(): pass\nprint(1)\n"),
        # 3. then the earliest end
        ("# x\ny", ""),
        ("x\n# y\nz", "x\n"),
        ("x  # y\n  # z\n", "x  # y\n  # z\n"),
        ("x\n#!", "x\n"),
        ("x<|endoftext|>y", "x"),
        ("x\n'''y", "x\n"),
        ('"""x', ""),
        ("x = '''y'''\n", "x = '''y'''\n"),
        ("''\n", "''\n"),
        ("x\n\n\ny", "x"),
        ("x\n\ny\n", "x\n\ny\n"),
        ("x\n \n\ny", "x\n \n\ny"),
        ("\n\n\nx", ""),
        ("x\n\n\n# y", "x"),
        ("a<|endoftext|>\n\n\n", "a"),
        # a print behind an end still counts for nothing, and a carriage return begins no line
        ("print(1)\n# y\nprint(2)", "print(1)\n"),
        ("x\r# y", "x\r# y"),
        ("x\r\n# y", "x\r\n"),
    ],
)
def test_an_answer_is_cut_where_its_turn_ends(text: str, kept: str) -> None:
    assert cut(text) == kept


PIECES = [
    "print",
    "def",
    "#",
    "<|endoftext|>",
    "<|end",
    "'''",
    "''",
    "'",
    '"""',
    '"',
    "\n",
    "\n\n",
    " ",
    "x",
    "print(1)\n",
    "def f():\n",
    "\r",
]
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=30)


@settings(max_examples=800, deadline=None)
@given(ANSWERS, st.sets(st.sampled_from(STOP), min_size=1))
def test_stopping_after_a_stop_string_never_changes_what_is_kept(text: str, stop: set[str]) -> None:
    ends = [text.index(each) + len(each) for each in stop if each in text]
    for end in ends:  # the first to end, and also any later one: an adapter may notice late
        assert cut(text[:end]) == cut(text)


@given(ANSWERS)
def test_what_is_kept_begins_the_answer_and_is_kept_again(text: str) -> None:
    assert text.startswith(cut(text))
    assert cut(cut(text)) == cut(text)


def test_every_stop_string_is_reached_by_some_answer_that_goes_on() -> None:
    assert all(cut(f"x{stop}y") == cut(f"x{stop}") for stop in STOP)


def test_prompts_of_the_published_set_are_sent_as_its_sampler_would(
    published_rows: list[dict[str, Any]], published_folder: Path
) -> None:
    pairs = 0
    for loaded, row in zip(load_problems(published_folder), published_rows, strict=True):
        for case, inputs in zip(loaded.problem.cases, row["inputs"], strict=True):
            history = "# Import libraries.\n\nimport numpy as np\n\n"
            turns: list[Turn] = []
            for number, prompt in enumerate(row["prompts"]):
                history += f"# {prompt.format(**inputs)}\n"
                assert CompletionProtocol().prompt(case, turns) == history
                turns.append(turn(case.prompts[number], f"x = {number}\n"))
                history += f"x = {number}\n\n\n"
            assert CompletionProtocol().program(case, turns) == history
            pairs += 1
    assert pairs == 575
