"""The benchmark as the harness sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from problem_texts import GOOD

from harness.errors import ProblemError, UsageError
from harness.nouns import Conversation, ForeignSample, Key, Prints, Turn
from harness.protocols import Benchmark
from harness.tasks import open_benchmark
from mtpb.benchmark import PROTOCOLS, bundled, from_path
from mtpb.rules import STRICT

WriteProblem = Callable[..., Path]
ROW = {"id": "7", "input": {"A": 1}, "gold_output": [1, {"a": None}], "completions": "print(1)\n"}


def test_a_path_and_a_name_open_the_benchmark(write_problem: WriteProblem) -> None:
    benchmark: Benchmark = open_benchmark(str(write_problem()))
    assert [problem.id for problem in benchmark.problems()] == ["string/count-vowels"]
    assert open_benchmark("mtpb").digest == bundled().digest


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_program_holds_the_code_of_every_turn_in_order(name: str, write_problem: WriteProblem) -> None:
    benchmark = from_path(write_problem())
    case = benchmark.problems()[0].cases[0]
    assert case.reference is not None
    turns = tuple(Turn(prompt, code, code) for prompt, code in zip(case.prompts, case.reference, strict=True))
    key = Key("t", "multi", name, "string/count-vowels", "word", 0)
    source = benchmark.compose(case, Conversation(key, turns)).source
    places = [source.index(f"{code}\n") for code in case.reference]
    assert places == sorted(places)
    exec(compile(source, "program", "exec"), {"print": places.append})  # noqa: S102 (our own code)
    assert places[-1] == 2


def test_a_conversation_longer_than_its_case_is_refused(write_problem: WriteProblem) -> None:
    benchmark = from_path(write_problem())
    case = benchmark.problems()[0].cases[0]
    key = Key("t", "multi", "completion", "string/count-vowels", "word", 0)
    with pytest.raises(ValueError, match="zip"):
        benchmark.compose(case, Conversation(key, (Turn("", "", ""),) * 4))


def test_unknown_protocols_and_rules_are_refused_with_the_known_ones(write_problem: WriteProblem) -> None:
    benchmark = from_path(write_problem())
    with pytest.raises(UsageError, match="unknown turn protocol 'x'; known are: completion, chat-append"):
        benchmark.protocol("x")
    with pytest.raises(UsageError, match="unknown rules 'x'; known are: strict"):
        benchmark.rules("x")
    assert benchmark.rules() is benchmark.rules("strict") is STRICT


def test_the_digest_changes_with_any_problem_and_with_their_number(write_problem: WriteProblem) -> None:
    path = write_problem()
    one = from_path(path).digest
    assert one == from_path(path.parent).digest
    write_problem(GOOD.replace("expect: 5", "expect: 6"))
    changed = from_path(path).digest
    write_problem(GOOD.replace("count-vowels", "again"), "string/again")
    assert len({one, changed, from_path(path.parent).digest}) == 3


def test_a_published_sample_carries_its_own_expected_value(write_problem: WriteProblem) -> None:
    sample = from_path(write_problem()).read_sample(ROW, "f.jsonl:1")
    assert sample == ForeignSample("7", "print(1)\n", Prints([1, {"a": None}]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"completions": ["print(1)"]}, "f.jsonl:3: completions is a list; write one line for each program, as a string"),
        ({"completions": None}, "f.jsonl:3: completions is None; write one line"),
        ({"id": None}, "f.jsonl:3: id is None; write the problem's id, a string"),
    ],
)
def test_a_sample_of_another_shape_is_refused_with_its_place(
    changes: dict[str, Any], words: str, write_problem: WriteProblem
) -> None:
    with pytest.raises(ProblemError) as caught:
        from_path(write_problem()).read_sample(ROW | changes, "f.jsonl:3")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("name", ROW)
def test_a_sample_without_a_field_is_refused_with_its_place(name: str, write_problem: WriteProblem) -> None:
    short = {field: value for field, value in ROW.items() if field != name}
    with pytest.raises(
        ProblemError, match=f"^f.jsonl:3: {name} missing; a sample has the fields id, input, gold_output, completions$"
    ):
        from_path(write_problem()).read_sample(short, "f.jsonl:3")
