"""What a command says at its end: the table, the faults, what to type next, and the exit code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from harness.leaderboard import Row, to_markdown
from harness.nouns import Fault
from harness.plan import Plan
from harness.score import Score

INCOMPLETE, GATE_FAILED, INTERRUPTED = 3, 4, 130


def say(text: str) -> None:
    """A line for the user, apart from the results on stdout. Nobody listening is no reason to stop a run."""
    with suppress(BrokenPipeError):
        click.echo(text, err=True)


def exit_code(incomplete: bool, interrupted: bool) -> int:
    if not incomplete:
        return 0  # Ctrl-C came when everything was in flight already
    return INTERRUPTED if interrupted else INCOMPLETE


def tell_faults(faults: Iterable[Fault]) -> None:
    """The kinds of failure of our side, most frequent first; a run with faults is incomplete."""
    counted: dict[Fault, int] = {}
    for fault in faults:
        counted[fault] = counted.get(fault, 0) + 1
    for fault, count in sorted(counted.items(), key=lambda item: -item[1])[:5]:
        say(f"{count} {'fault' if count == 1 else 'faults'} ({fault.where}): {fault.message}")


def resume_command() -> str:
    """The command that continues: the one that was typed."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--fresh"]
    return shlex.join(["mtpb", *arguments])


def finish(
    rows: list[Row],
    code: int,
    *,
    ks: tuple[int, ...],
    executed: bool = True,
    as_json: bool = False,
    fail_under: float | None = None,
    resume: str | None = None,
) -> int:
    """Print the table, the place of the run, and what to type next; the exit code."""
    if not executed:
        paths = [str(row.path) for row in rows]
        click.echo(json.dumps({"runs": paths}) if as_json else "\n".join(paths))
    elif as_json:
        click.echo(json.dumps({"runs": [row_to_json(row) for row in rows]}, indent=2))
    else:
        click.echo(to_markdown(rows))
        for row in rows:
            click.echo(f"{row.path}: {describe_verdicts(row.score)}")
    if code in (INCOMPLETE, INTERRUPTED):
        say(f"incomplete; this continues: {resume or resume_command()}")
    if code == 0 and fail_under is not None:
        return gate(rows, ks[0], fail_under)
    return code


def gate(rows: list[Row], k: int, least: float) -> int:
    """GATE_FAILED when a run's pass@k is under `least`."""
    low = [row for row in rows if row.score.pass_at[k].value < least]
    for row in low:
        say(f"{row.path}: pass@{k} {row.score.pass_at[k].value:.3f} is under {least}")
    return GATE_FAILED if low else 0


def row_to_json(row: Row) -> dict[str, Any]:
    return {
        "run": str(row.path),
        "task": row.task,
        "model": row.model,
        "protocol": row.protocol,
        "rules": row.rules,
        **row.score.to_json(),
    }


def describe_verdicts(derived: Score) -> str:
    """`12 pass, 3 wrong, 1 error`."""
    return ", ".join(f"{count} {reason}" for reason, count in derived.verdicts.items()) or "no verdicts"


def describe_effort(plan: Plan) -> str:
    """How much a plan asks for, before anything is done."""
    turns = [
        (case, index, problem) for problem in plan.problems for case in problem.cases for index in range(len(case.prompts))
    ]
    tokens = sum(
        problem.max_new_tokens[index] if problem.max_new_tokens else plan.max_new_tokens for _, index, problem in turns
    )
    programs = sum(len(problem.cases) for problem in plan.problems) * plan.n_samples
    # Each turn's text is stored raw, cut and within the program; a token is about four bytes.
    kib = plan.n_samples * sum(3 * 4 * plan.max_new_tokens + 4 * len(case.prompts[index]) for case, index, _ in turns) // 1024
    part = f"{len(plan.problems)} of {len(plan.benchmark.problems())} problems"
    return (
        f"{plan.task}: {part}, {plan.n_samples} samples a case: {len(turns) * plan.n_samples} model calls of "
        f"at most {tokens * plan.n_samples} new tokens in all, {programs} programs, at most about {kib} KiB on disk"
    )
