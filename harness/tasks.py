"""Which problems a run is over: tasks by name or path, and the subset asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, Self, cast

from harness.errors import UsageError
from harness.nouns import Case, Problem
from harness.protocols import Benchmark

BENCHMARKS = "mtpb.benchmarks"  # entry points: name -> factory without arguments
PATH_BENCHMARKS = "mtpb.path_benchmarks"  # entry points: name -> factory that takes a path


def _load(found: EntryPoint) -> Callable[..., Any]:
    return cast("Callable[..., Any]", found.load())


def open_benchmark(task: str, problem_file: Path | None = None) -> Benchmark:
    """The benchmark of this name, or made of the problems at this path. Raises UsageError that lists the known names.

    `problem_file` replaces the problems of a named benchmark that has a file format of its own.
    """
    named = {point.name: point for point in entry_points(group=BENCHMARKS)}
    if task in named:
        factory = _load(named[task])
        if problem_file is None:
            return cast("Benchmark", factory())
        if "problem_file" not in signature(factory).parameters:
            raise UsageError(
                f"task {task}: its problems cannot be replaced by --problem-file; give a path to YAML problems as the task"
            )
        return cast("Benchmark", factory(problem_file=problem_file))
    path = Path(task)
    if path.exists():
        for point in entry_points(group=PATH_BENCHMARKS):
            return cast("Benchmark", _load(point)(path))
    known = ", ".join(sorted(named)) or "none: is the package installed?"
    raise UsageError(f"unknown task {task!r}: neither a task ({known}) nor a path that exists")


@dataclass(frozen=True, slots=True)
class Subset:
    """Which problems and cases of a benchmark are asked for; the default is all."""

    limit: int | None = None
    limit_cases: int | None = None
    problem_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict` and JSON."""
        lists = {name: tuple(record[name]) for name in ("problem_ids", "categories")}
        return cls(limit=record["limit"], limit_cases=record["limit_cases"], **lists)

    def of(self, benchmark: Benchmark) -> tuple[Problem, ...]:
        """The chosen problems, in the benchmark's order. Raises UsageError when a name matches nothing."""
        problems: Sequence[Problem] = benchmark.problems()
        if self.problem_ids:
            known = {problem.id for problem in problems}
            if missing := [name for name in self.problem_ids if name not in known]:
                raise UsageError(
                    f"task {benchmark.name}: no problem named {', '.join(missing)}; "
                    f"`mtpb problems list {benchmark.name}` shows the names"
                )
            problems = [problem for problem in problems if problem.id in self.problem_ids]
        if self.categories:
            known = {problem.category for problem in problems}
            if missing := [name for name in self.categories if name not in known]:
                raise UsageError(
                    f"task {benchmark.name}: no problems of category {', '.join(missing)}; "
                    f"there are: {', '.join(sorted(known))}"
                )
            problems = [problem for problem in problems if problem.category in self.categories]
        if self.limit is not None:
            problems = problems[: self.limit]
        if self.limit_cases is not None:
            problems = [replace(problem, cases=problem.cases[: self.limit_cases]) for problem in problems]
        if not problems:
            raise UsageError(f"task {benchmark.name}: no problems are left to run")
        return tuple(problems)


def case_index(problems: Sequence[Problem]) -> dict[tuple[str, str], tuple[Problem, Case]]:
    """(problem id, case id) -> both, in order."""
    return {(problem.id, case.id): (problem, case) for problem in problems for case in problem.cases}


def sha256(text: str) -> str:
    """Hex digest of a text, lone surrogates (which models do write) included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
