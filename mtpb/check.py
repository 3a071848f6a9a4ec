"""What the format allows but a good problem does not have; and whether its references pass its cases."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.nouns import Case, Prints
from mtpb.benchmark import MtpbBenchmark
from mtpb.completion import cut, text_of
from mtpb.problem_file import LoadedProblem
from mtpb.rules import STRICT
from sandbox import Limits, Program, Sandbox

MIN_TURNS, MAX_TURNS = 3, 9
MIN_CASES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend in a problem: the fact, and what to do."""

    place: str  # FILE:LINE
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def lint(loaded: LoadedProblem) -> list[Finding]:
    """What can be seen without running anything."""
    return [*_shape(loaded), *_prompts(loaded), *_references(loaded), *_answers(loaded)]


def _shape(loaded: LoadedProblem) -> Iterable[Finding]:
    content = loaded.content
    if not MIN_TURNS <= len(content.turns) <= MAX_TURNS:
        yield Finding(loaded.place("turns"), f"{len(content.turns)} turns; have {MIN_TURNS} to {MAX_TURNS}")
    if len(content.cases) < MIN_CASES:
        yield Finding(loaded.place("cases"), f"{len(content.cases)} cases; have {MIN_CASES} or more")
    if content.difficulty is None:
        yield Finding(loaded.place(), "there is no difficulty; add easy, medium or hard")


# A plain (unquoted) YAML scalar of one line, and a comment behind it.
_CUT_BY_COMMENT = re.compile(r"^\s*(?:- )?\s*prompt:\s+[^\s'\"|>#&*!].*?\s#")


def _prompts(loaded: LoadedProblem) -> Iterable[Finding]:
    for number, line in enumerate(loaded.path.read_text("utf-8-sig").splitlines(), 1):
        if _CUT_BY_COMMENT.match(line):
            yield Finding(
                f"{loaded.path}:{number}", "the prompt ends before ` #`, which begins a comment in YAML; quote the prompt"
            )
    for index, turn in enumerate(loaded.content.turns):
        place = loaded.place("turns", index, "prompt")
        if turn.prompt != turn.prompt.strip():
            yield Finding(place, f"turn {index + 1}: the prompt begins or ends in white space; strip it (`>-` instead of `>`)")
        elif "\n" in turn.prompt:
            yield Finding(
                place, f"turn {index + 1}: only the prompt's first line becomes a comment; write one line (`>-` joins lines)"
            )


def _references(loaded: LoadedProblem) -> Iterable[Finding]:
    for case in loaded.problem.cases:
        if case.reference is None:
            yield Finding(loaded.place("turns"), "there is no reference code; add it to every turn")
            return
        for index, reference in enumerate(case.reference):
            if (kept := cut(reference)) != reference:
                line = reference.count("\n", 0, len(kept)) + 1
                fact = f"turn {index + 1}, case {case.id!r}: the completion protocol cuts the reference before its line {line}"
                remedy = (
                    "have at most one print and one def at the left margin, and no comment, docstring or two blank lines there"
                )
                yield Finding(loaded.place("turns", index, "reference"), f"{fact}; {remedy}")
                return


def _answers(loaded: LoadedProblem) -> Iterable[Finding]:
    cases = loaded.problem.cases
    expected = [repr(case.check.value) for case in cases if isinstance(case.check, Prints)]
    if len(cases) > 1 and len(set(expected)) == 1:
        yield Finding(loaded.place("cases"), f"every case expects {expected[0]}, so a constant passes; vary the inputs")
    shown = [case.id for case in cases if _shows_its_answer(case)]
    if 2 * len(shown) > len(cases):
        yield Finding(
            loaded.place("cases"), f"the prompts show the answer of the cases {', '.join(shown)}; ask for something else"
        )


def _shows_its_answer(case: Case) -> bool:
    """Numbers and truth values are too short to tell: they stand in prompts by chance."""
    value = case.check.value if isinstance(case.check, Prints) else None
    return isinstance(value, (str, bytes, list, tuple, dict, set)) and any(repr(value) in prompt for prompt in case.prompts)


async def check_references(benchmark: MtpbBenchmark, sandbox: Sandbox) -> list[Finding]:
    """Run the reference code of every case in the box, and grade it strictly. Raises SandboxError when the box fails."""
    packages = (await sandbox.facts()).packages if any(loaded.content.requires for loaded in benchmark.loaded) else {}
    findings: list[Finding] = []
    runs = []
    for loaded in benchmark.loaded:
        if missing := [name for name in loaded.content.requires if name not in packages]:
            findings.append(
                Finding(loaded.place("requires"), f"the box has no {', '.join(missing)}; drop it, or add it to the box")
            )
        else:
            runs += [_check_reference(benchmark, loaded, index, sandbox) for index in range(len(loaded.problem.cases))]
    findings += [finding for finding in await asyncio.gather(*runs) if finding is not None]
    return findings


async def _check_reference(benchmark: MtpbBenchmark, loaded: LoadedProblem, index: int, sandbox: Sandbox) -> Finding | None:
    problem = loaded.problem
    case = problem.cases[index]
    if case.reference is None:
        return None
    limits = Limits(
        cpu_seconds=problem.cpu_seconds or benchmark.default_cpu_seconds,
        memory_mib=problem.memory_mib or Limits().memory_mib,
    )
    source = text_of(zip(case.prompts, case.reference, strict=True))
    verdict = STRICT.judge(case.check, await sandbox.run(Program(source), limits))
    if verdict.passed:
        return None
    place = loaded.place("cases", index)
    return Finding(
        place, f"case {case.id!r}: the reference does not pass: {verdict.reason}: {verdict.detail}; mend it, or `expect`"
    )
