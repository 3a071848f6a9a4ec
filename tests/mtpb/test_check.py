"""What `mtpb problems check` finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import ScriptedSandbox
from problem_texts import GOOD

from mtpb.benchmark import bundled, from_path
from mtpb.check import check_references, lint
from mtpb.problem_file import load_problem, load_problems
from mtpb.schema import CATEGORIES
from sandbox import Ending, Execution, Limits, Printed, Program
from sandbox.choose import open_sandbox

WriteProblem = Callable[..., Path]


def test_a_good_problem_has_nothing_to_mend(write_problem: WriteProblem) -> None:
    assert lint(load_problem(write_problem())) == []


SECOND_TURN = """\
  - prompt: Count the vowels in `s` and store the number in `n`.
    reference: |
      n = sum(letter in "aeiou" for letter in s)
"""
CUT_AT_1 = (
    "turn 3, case 'word': the completion protocol cuts the reference before its line 1; have at most one print and one def"
)
CUT_AT_2 = "turn 3, case 'word': the completion protocol cuts the reference before its line 2; "


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (SECOND_TURN, "", 6, "2 turns; have 3 to 9"),
        ("  - {id: twice, inputs: {text: aa}, expect: 2}\n", "", 14, "4 cases; have 5 or more"),
        ("difficulty: easy\n", "", 1, "there is no difficulty; add easy, medium or hard"),
        ("prompt: Print `n`.", "prompt: |\n      Print `n`.", 12, "turn 3: the prompt begins or ends in white space"),
        ("prompt: Print `n`.", 'prompt: "Print `n`.\\nNow."', 12, "turn 3: only the prompt's first line becomes a comment"),
        ("reference: print(n)", 'reference: "# n\\nprint(n)"', 13, CUT_AT_1),
        ("reference: print(n)", 'reference: "print(1)\\nprint(n)"', 13, CUT_AT_2),
    ],
)
def test_what_the_format_allows_and_a_good_problem_has_not_is_found(
    old: str, new: str, line: int, words: str, write_problem: WriteProblem
) -> None:
    assert old in GOOD
    path = write_problem(GOOD.replace(old, new))
    (finding,) = lint(load_problem(path))
    assert str(finding).startswith(f"{path}:{line}: {words}")


def test_one_answer_to_every_case_is_found(write_problem: WriteProblem) -> None:
    text = GOOD.replace("expect: 0", "expect: 2").replace("expect: 5", "expect: 2")
    (finding,) = lint(load_problem(write_problem(text)))
    assert finding.message == "every case expects 2, so a constant passes; vary the inputs"


def test_an_answer_that_stands_in_the_prompt_is_found(write_problem: WriteProblem) -> None:
    text = GOOD
    for case, answer in (("hello", 2), ("rhythm", 0), ("''", 0)):
        text = text.replace(f"text: {case}}}, expect: {answer}", f"text: {case}}}, expect: {case}")
    (finding,) = lint(load_problem(write_problem(text)))
    assert finding.message == "the prompts show the answer of the cases word, none, empty; ask for something else"


def test_missing_references_are_found_once(write_problem: WriteProblem) -> None:
    text = "\n".join(line for line in GOOD.split("\n") if "reference" not in line and not line.startswith("      n ="))
    findings = lint(load_problem(write_problem(text)))
    assert [finding.message for finding in findings] == ["there is no reference code; add it to every turn"]


# ---- references, with a box that only knows what it is told ----


def prints(value: int) -> Execution:
    return Execution(Ending.FINISHED, print_count=1, last_print=Printed(1, [value], value, f"{value}\n"))


def test_references_are_run_as_the_completion_protocol_composes_them(write_problem: WriteProblem) -> None:
    benchmark = from_path(write_problem())
    box = ScriptedSandbox(lambda program: prints(2))
    findings = asyncio.run(check_references(benchmark, box))
    assert [finding.message for finding in findings] == [
        "case 'none': the reference does not pass: wrong: expected 0, printed 2; mend it, or `expect`",
        "case 'empty': the reference does not pass: wrong: expected 0, printed 2; mend it, or `expect`",
        "case 'all': the reference does not pass: wrong: expected 5, printed 2; mend it, or `expect`",
    ]
    assert findings[0].place == f"{benchmark.loaded[0].path}:16"
    assert box.programs[0].source == (
        "# Import libraries.\n\nimport numpy as np\n\n"
        "# Store the string 'hello' in `s`.\ns = 'hello'\n\n"
        '# Count the vowels in `s` and store the number in `n`.\nn = sum(letter in "aeiou" for letter in s)\n\n'
        "# Print `n`.\nprint(n)\n\n"
    )


def test_a_package_that_the_box_lacks_is_found_and_nothing_run(write_problem: WriteProblem) -> None:
    box = ScriptedSandbox()
    findings = asyncio.run(check_references(from_path(write_problem(GOOD + "requires: [polars]\n")), box))
    assert [finding.message for finding in findings] == ["the box has no polars; drop it, or add it to the box"]
    assert box.programs == []


def test_references_run_under_the_problem_s_own_limits(write_problem: WriteProblem) -> None:
    asked: list[Limits] = []

    class Box(ScriptedSandbox):
        async def run(self, program: Program, limits: Limits) -> Execution:
            asked.append(limits)
            return prints(2)

    text = GOOD + "limits: {time_seconds: 3, memory_mib: 99}\n"
    asyncio.run(check_references(from_path(write_problem(text)), Box()))
    assert {(limits.cpu_seconds, limits.memory_mib) for limits in asked} == {(3, 99)}


# ---- the bundled problems ----


def test_bundled_problems_have_nothing_to_mend() -> None:
    assert [str(finding) for loaded in bundled().loaded for finding in lint(loaded)] == []


def test_bundled_problems_cover_every_category() -> None:
    assert {problem.category for problem in bundled().problems()} == set(CATEGORIES)


@pytest.mark.bubblewrap
def test_bundled_references_pass_in_a_sealed_box() -> None:
    async def findings() -> list[str]:
        async with open_sandbox("bubblewrap", workers=2, say=lambda line: None) as box:
            return [str(finding) for finding in await check_references(bundled(), box)]

    assert asyncio.run(findings()) == []


def test_a_folder_is_checked_as_one_benchmark(write_problem: WriteProblem) -> None:
    first = write_problem()
    write_problem(GOOD.replace("count-vowels", "again"), "string/again")
    assert [loaded.problem.id for loaded in load_problems(first.parent)] == ["string/again", "string/count-vowels"]


@pytest.mark.bubblewrap
def test_the_guide_s_example_has_nothing_to_mend(write_problem: WriteProblem) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "write-a-problem.md").read_text("utf-8")
    example = guide.split("```yaml\n")[1].split("```")[0]
    benchmark = from_path(write_problem(example, "string/longest-run"))
    assert lint(benchmark.loaded[0]) == []

    async def findings() -> list[str]:
        async with open_sandbox("bubblewrap", workers=1, say=lambda line: None) as box:
            return [str(finding) for finding in await check_references(benchmark, box)]

    assert asyncio.run(findings()) == []
