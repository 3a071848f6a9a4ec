"""The multi-turn programming benchmark, as the harness sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.errors import ProblemError, UsageError
from harness.nouns import Case, Conversation, ForeignSample, Prints, Problem
from harness.protocols import Rules, TurnProtocol
from mtpb.chat import ChatAppendProtocol
from mtpb.completion import CompletionProtocol
from mtpb.problem_file import LoadedProblem, load_problems
from mtpb.rules import STRICT
from sandbox import Program

PROTOCOLS = {protocol.name: protocol for protocol in (CompletionProtocol(), ChatAppendProtocol())}
RULES = {rules.name: rules for rules in (STRICT,)}
SAMPLE_FIELDS = ("id", "input", "gold_output", "completions")


@dataclass(frozen=True, slots=True)
class MtpbBenchmark:
    """A set of problem files."""

    name: str
    loaded: tuple[LoadedProblem, ...]
    default_max_new_tokens: int = 128
    default_cpu_seconds: float = 10.0

    @property
    def digest(self) -> str:
        """sha256 over the problems' own."""
        return hashlib.sha256("\n".join(loaded.problem.digest for loaded in self.loaded).encode()).hexdigest()

    def problems(self) -> Sequence[Problem]:
        return [loaded.problem for loaded in self.loaded]

    def protocol(self, name: str) -> TurnProtocol:
        return _protocol(name)

    def compose(self, case: Case, conversation: Conversation) -> Program:
        return Program(_protocol(conversation.key.protocol).program(case, conversation.turns))

    def rules(self, name: str | None = None) -> Rules:
        if (name or STRICT.name) not in RULES:
            raise UsageError(f"unknown rules {name!r}; known are: {', '.join(RULES)}")
        return RULES[name or STRICT.name]

    def read_sample(self, row: Mapping[str, Any], place: str) -> ForeignSample:
        """A row of the published format, which carries its own expected value; its id need not be one of the problems'."""
        if missing := [name for name in SAMPLE_FIELDS if name not in row]:
            raise ProblemError(f"{place}: {', '.join(missing)} missing; a sample has the fields {', '.join(SAMPLE_FIELDS)}")
        source = row["completions"]
        if not isinstance(source, str):
            kind = "a list" if isinstance(source, list) else repr(source)
            raise ProblemError(f"{place}: completions is {kind}; write one line for each program, as a string")
        if isinstance(row["id"], (dict, list)) or row["id"] is None:
            raise ProblemError(f"{place}: id is {row['id']!r}; write the problem's id, a string")
        return ForeignSample(str(row["id"]), source, Prints(row["gold_output"]))


def _protocol(name: str) -> CompletionProtocol | ChatAppendProtocol:
    if name not in PROTOCOLS:
        raise UsageError(f"unknown turn protocol {name!r}; known are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def from_path(path: str | Path) -> MtpbBenchmark:
    """A benchmark of one problem file, or of all below a folder. Raises ProblemError, UsageError."""
    return from_paths([Path(path)])


def from_paths(paths: Sequence[Path]) -> MtpbBenchmark:
    """As `from_path`, of several files and folders together."""
    return MtpbBenchmark(", ".join(path.stem for path in paths), load_problems(*paths))


def bundled() -> MtpbBenchmark:
    """The problems that are shipped with the harness."""
    return MtpbBenchmark("mtpb", load_problems(Path(str(files("problems")))))
