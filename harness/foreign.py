"""Samples made elsewhere: read whole before anything runs, kept in the run directory with their own expected values."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ProblemError, UsageError
from harness.files import read_text
from harness.nouns import Check, Key
from harness.plan import LimitSettings
from harness.protocols import Benchmark
from harness.runner import Job, Run, whole_program
from harness.store import RunDirectory, key_to_json
from harness.tasks import sha256
from sandbox import Limits, Sandbox

MODE = "foreign"


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """One line of a sample file, understood."""

    key: Key
    row: Mapping[str, Any]  # as it was read
    source: str
    check: Check
    limits: Limits


def understand(
    task: str, benchmark: Benchmark, lines: Sequence[tuple[str, Mapping[str, Any]]], limits: LimitSettings
) -> list[ForeignRow]:
    """(place, row) of a whole file -> samples, in order. Raises ProblemError with all that is wrong, a line each.

    Rows of one task and input are samples 0, 1, ... of one case, in the order they come.
    """
    seen: Counter[tuple[str, str]] = Counter()
    rows: list[ForeignRow] = []
    wrong: list[str] = []
    for place, row in lines:
        try:
            sample = benchmark.read_sample(row, place)
        except ProblemError as error:
            wrong.append(str(error))
            continue
        case = _case_name(row)
        key = Key(task, MODE, "", sample.task_id, case, seen[sample.task_id, case])
        seen[sample.task_id, case] += 1
        allowed = limits.limits(sample.cpu_seconds, sample.memory_mib, benchmark.default_cpu_seconds)
        rows.append(ForeignRow(key, row, sample.source, sample.check, allowed))
    if wrong:
        more = f"\n... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ProblemError("\n".join(wrong[:20]) + more)
    return rows


def checks_of(rows: Sequence[ForeignRow]) -> dict[Key, Check]:
    """What each row is judged by, in order."""
    return {row.key: row.check for row in rows}


def problems_of(benchmark: Benchmark, rows: Sequence[ForeignRow]) -> int:
    """How many problems the rows' benchmark has; where they are of other problems, how many these are."""
    named = {row.key.problem for row in rows}
    try:
        known = {problem.id for problem in benchmark.problems()}
    except UsageError:  # rows that carry their own expected values need no problem set
        known = set()
    return len(known) if named <= known else len(named)


def fewest_samples(rows: Sequence[ForeignRow]) -> tuple[int, Key]:
    """How many samples the case with the fewest has, and its last one."""
    counted = Counter((row.key.problem, row.key.case) for row in rows)
    last = {(row.key.problem, row.key.case): row.key for row in rows}
    case = min(counted, key=lambda name: counted[name])
    return counted[case], last[case]


def checks_digest(rows: Sequence[ForeignRow]) -> str:
    """A hash of what the rows are judged by: their own expected values, or the tests of their task."""
    return sha256("\n".join(repr(row.check) for row in rows))


def _case_name(row: Mapping[str, Any]) -> str:
    """Names the inputs of a row: equal inputs, equal names."""
    if "input" not in row:
        return ""
    canonical = json.dumps(row["input"], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def read_file(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(`FILE:LINE`, row) of a file of JSON lines, gzipped or not.

    Raises ProblemError for the first line that is not a JSON object.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{place}: not JSON, or too deep ({error}); one sample a line is wanted") from None
        if not isinstance(row, dict):
            raise ProblemError(f"{place}: a JSON object is wanted, this is {type(row).__name__}")
        rows.append((place, row))
    if not rows:
        raise ProblemError(f"{path}:1: no samples in this file")
    return rows


def store_rows(store: RunDirectory, rows: Sequence[ForeignRow]) -> None:
    """Put the rows into samples.jsonl, but for those that are there already."""
    there = {key for key, _ in store.samples()}
    for row in rows:
        if row.key not in there:
            store.append_sample({"key": key_to_json(row.key), "row": dict(row.row)})


async def execute_rows(rows: Sequence[ForeignRow], run: Run, sandbox: Sandbox, workers: int) -> None:
    """Run every program that has no execution yet."""
    executed = {key for key, _ in run.store.executions()}
    jobs: asyncio.Queue[Job | None] = asyncio.Queue()
    for row in rows:
        if row.key not in executed:
            jobs.put_nowait(Job(row.key, whole_program(row.source, row.check), row.limits, row.check))
    jobs.put_nowait(None)
    await run.execute_all(jobs, sandbox, workers)
