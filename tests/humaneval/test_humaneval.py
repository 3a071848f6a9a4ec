"""HumanEval's pure half: data, prompts, cuts, composition, sample formats and grading by message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProblemError, UsageError
from harness.nouns import Asserts, Conversation, Key, Message, Reason, Turn
from humaneval.benchmark import HumanEval, judge, load, read_rows
from humaneval.protocols import PROTOCOLS, STOP, stub
from sandbox import Ending, Execution, Tested

ROW = {
    "task_id": "Own/0",
    "prompt": 'from math import sqrt\n\n\ndef root(x: float) -> float:\n    """The square root of x."""\n',
    "entry_point": "root",
    "canonical_solution": "    return sqrt(x)\n",
    "test": "\n\ndef check(candidate):\n    assert candidate(4) == 2\n",
}
CHECK = Asserts("def check(candidate): ...", "root")


def own() -> HumanEval:
    return HumanEval((ROW,))


def test_the_released_problems_are_all_there() -> None:
    problems = load().problems()
    assert len(problems) == 164
    assert all(len(problem.cases) == 1 and len(problem.cases[0].prompts) == 1 for problem in problems)
    assert load().digest == load().digest != own().digest


def test_no_canonical_solution_is_cut() -> None:
    completion = PROTOCOLS["completion"]
    for problem in load().problems():
        assert problem.cases[0].reference is not None
        (solution,) = problem.cases[0].reference
        assert completion.code(solution) == solution


@given(st.text(alphabet=st.sampled_from(list("\ndefclassif#print x")), max_size=60))
def test_stopping_at_a_stop_string_never_changes_what_is_kept(text: str) -> None:
    completion = PROTOCOLS["completion"]
    for stop in STOP:
        at = text.find(stop)
        if at >= 0:
            assert completion.code(text[: at + len(stop)]) == completion.code(text)


def test_expected_values_are_in_the_tests_and_never_in_the_program() -> None:
    benchmark = own()
    (problem,) = benchmark.problems()
    (case,) = problem.cases
    key = Key("humaneval", "multi", "completion", problem.id, case.id, 0)
    program = benchmark.compose(case, Conversation(key, (Turn(case.prompts[0], "", "    return x\n"),)))
    assert program.source == ROW["prompt"] + "    return x\n\n"
    assert "assert" not in program.source
    assert program.tests is not None
    assert "candidate(4) == 2" in program.tests.source


def test_the_tests_see_what_the_prompt_defines_beside_the_function() -> None:
    check = own().problems()[0].cases[0].check
    assert isinstance(check, Asserts)
    names: dict[str, object] = {}
    exec(check.source, names)  # noqa: S102 (our own text)
    assert {"sqrt", "root", "check"} <= names.keys()


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ("```python\nfrom math import sqrt\n\ndef root(x):\n    return sqrt(x)\n```", "\n    return sqrt(x)\n"),
        ("Sure!\n```\n    return sqrt(x)\n```\nDone.", "\n    return sqrt(x)\n"),
    ],
)
def test_a_chat_answer_may_be_the_function_or_its_body(answer: str, end: str) -> None:
    chat = PROTOCOLS["chat-append"]
    program = chat.program(ROW["prompt"], chat.code(answer), "root")
    names: dict[str, object] = {}
    exec(program, names)  # noqa: S102 (our own text)
    assert program.endswith(end)
    assert names["root"](9) == 3  # type: ignore[operator]


def test_a_chat_prompt_is_one_message_that_holds_the_function() -> None:
    (message,) = PROTOCOLS["chat-append"].prompt(own().problems()[0].cases[0], ())
    assert isinstance(message, Message)
    assert "def root(x: float)" in message.content


@pytest.mark.parametrize(
    ("execution", "reason"),
    [
        (Execution(Ending.FINISHED, tested=Tested(True)), Reason.PASS),
        (Execution(Ending.FINISHED, tested=Tested(False, "AssertionError")), Reason.WRONG),
        (Execution(Ending.FINISHED), Reason.CRASH),
        (Execution(Ending.EXITED, "exit status 0"), Reason.ERROR),
        (Execution(Ending.EXITED, "exit status 0", tested=Tested(False)), Reason.ERROR),
        (Execution(Ending.TIMED_OUT, "cpu"), Reason.TIMEOUT),
        (Execution(Ending.MEMORY), Reason.MEMORY),
        (Execution(Ending.OUTPUT_LIMIT), Reason.OUTPUT_LIMIT),
        (Execution(Ending.KILLED, "signal 11"), Reason.CRASH),
        (Execution(Ending.RAISED, "SyntaxError: ..."), Reason.ERROR),
    ],
)
def test_only_a_message_of_the_tests_is_a_pass(execution: Execution, reason: Reason) -> None:
    assert judge(CHECK, execution).reason is reason


def test_samples_hold_a_completion_or_a_whole_solution() -> None:
    benchmark = own()
    completion = benchmark.read_sample({"task_id": "Own/0", "completion": "    return 1"}, "f:1")
    assert completion.source == ROW["prompt"] + "    return 1\n"
    assert benchmark.read_sample({"task_id": "Own/0", "solution": "root = abs"}, "f:1").source == "root = abs"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"task_id": "Own/1", "completion": ""}, r"f:7: task_id 'Own/1' is not one of the 1 problems"),
        ({"completion": ""}, r"f:7: task_id None"),
        ({"task_id": "Own/0"}, r'f:7: neither "completion" nor "solution"'),
        ({"task_id": "Own/0", "completion": 5}, r'f:7: neither "completion" nor "solution"'),
    ],
)
def test_a_wrong_sample_is_refused_by_its_place(row: dict[str, object], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        own().read_sample(row, "f:7")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "p:2: not JSON"),
        ("[]", "p:2: a JSON object is wanted"),
        (json.dumps({**ROW, "test": None}), "p:2: 'test' is missing"),
        (json.dumps(ROW), "p:2: task_id 'Own/0' is there twice"),
        (json.dumps({**ROW, "task_id": "x", "prompt": "x ="}), "p:2: the prompt of x does not end in a function"),
    ],
)
def test_a_wrong_problem_is_refused_by_its_line(line: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        read_rows(f"{json.dumps(ROW)}\n{line}\n", "p")


def test_a_file_replaces_the_released_problems(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    assert [problem.id for problem in load(path).problems()] == ["Own/0"]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="it has completion, chat-append"):
        own().protocol("telepathy")
    with pytest.raises(UsageError, match="it has tests"):
        own().rules("strict")


def test_the_stub_of_every_prompt_is_a_program() -> None:
    for problem in load().problems():
        compile(stub(problem.cases[0].prompts[0]), problem.id, "exec")


@pytest.mark.parametrize("answer", ["x=" + "-" * 100_000 + "1", "x=" + "1+" * 100_000 + "1", "x=a" + ".a" * 100_000])
def test_an_answer_that_python_cannot_parse_is_a_program_all_the_same(answer: str) -> None:
    assert PROTOCOLS["chat-append"].program(ROW["prompt"], answer, "root")
