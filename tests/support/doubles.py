"""Doubles the tests share: a benchmark of two problems, and a box that computes what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from harness.errors import ProblemError, UsageError
from harness.nouns import Case, Check, Conversation, ForeignSample, Message, Prints, Problem, Reason, Turn, Verdict
from harness.protocols import Rules
from sandbox import BoxFacts, Ending, Execution, Limits, Program


@dataclass(frozen=True)
class LineProtocol:
    """One line a turn."""

    name: str = "completion"
    version: str = "1"
    stop: tuple[str, ...] = ("\n",)

    def prompt(self, case: Case, turns: Sequence[Turn]) -> str | tuple[Message, ...]:
        asked = case.prompts[: len(turns)]
        history = "".join(f"# {prompt}\n{turn.code}\n" for prompt, turn in zip(asked, turns, strict=True))
        return f"{history}# {case.prompts[len(turns)]}\n"

    def code(self, text: str) -> str:
        return text.split("\n", maxsplit=1)[0]


def _case(name: str, value: int) -> Case:
    return Case(name, (f"Let x be {value}.", "Print x."), Prints(str(value)), (f"x = {value}", "print(x)"))


def judge(check: Check, execution: Execution) -> Verdict:
    assert isinstance(check, Prints)
    if execution.ending is not Ending.FINISHED:
        return Verdict(Reason.ERROR, execution.detail)
    return Verdict(Reason.PASS) if execution.stdout == f"{check.value}\n" else Verdict(Reason.WRONG, execution.stdout.strip())


@dataclass(frozen=True)
class TinyBenchmark:
    """Two problems, two cases each, two turns each."""

    name: str = "tiny"
    digest: str = "d" * 64
    default_max_new_tokens: int = 16
    default_cpu_seconds: float = 1.0

    def problems(self) -> Sequence[Problem]:
        return (
            Problem("b/second", (_case("one", 1), _case("two", 2)), "p1", category="b"),
            Problem("a/first", (_case("one", 10), _case("two", 20)), "p2", category="a"),
        )

    def protocol(self, name: str) -> LineProtocol:
        if name != "completion":
            raise UsageError(f"tiny has no protocol {name!r}")
        return LineProtocol()

    def compose(self, case: Case, conversation: Conversation) -> Program:
        return Program("".join(f"{turn.code}\n" for turn in conversation.turns))

    def rules(self, name: str | None = None) -> Rules:
        return Rules("tiny", "1", judge)

    def read_sample(self, row: Mapping[str, Any], place: str) -> ForeignSample:
        if not isinstance(row.get("program"), str):
            raise ProblemError(f"{place}: no program")
        return ForeignSample(str(row["id"]), row["program"], Prints(row["expect"]))


def arithmetic(program: Program) -> Execution:
    """What `x = N` and `print(x)` do, and nothing more."""
    lines = program.source.split("\n")
    value = lines[0].removeprefix("x = ")
    if "print(x)" not in lines:
        return Execution(Ending.FINISHED)
    return Execution(Ending.FINISHED, stdout=f"{value}\n")


class ScriptedSandbox:
    """A box that gives the executions a function makes, or raises what it returns."""

    def __init__(self, execute: Callable[[Program], Execution | Exception] = arithmetic) -> None:
        self.execute = execute
        self.programs: list[Program] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def facts(self) -> BoxFacts:
        return BoxFacts("scripted", "3.11.0", {})

    async def run(self, program: Program, limits: Limits) -> Execution:
        self.programs.append(program)
        outcome = self.execute(program)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
