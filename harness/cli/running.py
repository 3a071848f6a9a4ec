"""What `run`, `generate`, `demo` and `execute RUN` have in common: from flags to a plan, from a plan to a table."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.errors import UsageError
from harness.leaderboard import Row, to_markdown
from harness.nouns import Fault, Key, Sampling
from harness.plan import LimitSettings, Plan, check_resumable, directory_name, harness_version
from harness.progress import Progress
from harness.protocols import Benchmark, Model
from harness.runner import Run, carry_out, outcomes
from harness.score import Score, result_record, score
from harness.store import RunDirectory, set_aside
from harness.tasks import Subset, open_benchmark
from sandbox import Sandbox

INCOMPLETE, GATE_FAILED, INTERRUPTED = 3, 4, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags:
    """What was typed, with the defaults of docs/running.md."""

    execute: bool
    model: str
    model_settings: tuple[str, ...] = ()
    base_url: str | None = None
    max_connections: int = 8
    limit: int | None = None
    limit_cases: int | None = None
    problem_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    problem_file: Path | None = None
    n_samples: int = 1
    temperature: float = 0.2
    top_p: float = 0.95
    max_tokens: int | None = None
    seed: int = 0
    greedy: bool = False
    protocol: str | None = None
    ks: tuple[int, ...] = (1,)
    sandbox_kind: str = "auto"
    consent: bool = False
    workers: int | None = None
    time_limit: float | None = None
    memory_limit: int | None = None
    output_limit: int = 256
    output: Path | None = None
    fresh: bool = False
    as_json: bool = False
    quiet: bool = False
    fail_under: float | None = None
    dry_run: bool = False


def say(text: str) -> None:
    """A line for the user, apart from the results on stdout."""
    click.echo(text, err=True)


# ---- from flags to plans -------------------------------------------------------------------------------------------


def make_plan(task: str, benchmark: Benchmark, model: Model, flags: RunFlags) -> Plan:
    """Raises UsageError for what cannot be done as asked."""
    subset = Subset(flags.limit, flags.limit_cases, flags.problem_ids, flags.categories)
    spoken: tuple[str, ...] = getattr(model, "protocols", ("completion",))
    if flags.protocol is not None and flags.protocol not in spoken:
        raise UsageError(f"--protocol {flags.protocol}: the adapter of {model.name} speaks {', '.join(spoken)}")
    n_samples = flags.n_samples
    if flags.greedy and n_samples != 1:
        say("--greedy: one sample per case, since all would be equal")
        n_samples = 1
    check_ks(flags.ks, n_samples)
    return Plan(
        task=task,
        benchmark=benchmark,
        problems=subset.of(benchmark),
        subset=subset,
        protocol=benchmark.protocol(flags.protocol or spoken[0]),
        rules=benchmark.rules(),
        sampling=Sampling(0.0 if flags.greedy else flags.temperature, flags.top_p),
        n_samples=n_samples,
        seed=flags.seed,
        max_new_tokens=flags.max_tokens or benchmark.default_max_new_tokens,
        limits=LimitSettings(flags.time_limit, flags.memory_limit, flags.output_limit),
    )


def check_ks(ks: tuple[int, ...], n_samples: int) -> None:
    """Raises UsageError when a k cannot be computed from so many samples."""
    if min(ks) < 1:
        raise UsageError(f"--k {min(ks)}: k is at least 1")
    if max(ks) > n_samples:
        raise UsageError(f"--k {max(ks)}: pass@{max(ks)} needs --n-samples {max(ks)} or more; {n_samples} asked for")


def demo_problem_ids() -> tuple[str, ...]:
    """The two easiest bundled problems of each category."""
    ranks = {"easy": 0, "medium": 1, "hard": 2}
    by_category: dict[str, list[str]] = {}
    for problem in sorted(
        open_benchmark("mtpb").problems(), key=lambda p: (ranks[p.difficulty], len(p.cases[0].prompts), p.id)
    ):
        by_category.setdefault(problem.category, []).append(problem.id)
    return tuple(name for names in by_category.values() for name in names[:2])


# ---- the run itself ------------------------------------------------------------------------------------------------


async def run_tasks(tasks: tuple[str, ...], flags: RunFlags) -> int:
    """Carry out one plan per task with one model and one box; print the table; the exit code."""
    from harness.models.registry import open_model, parse_options

    options = parse_options(flags.model_settings)
    benchmarks = {task: open_benchmark(task, flags.problem_file) for task in dict.fromkeys(tasks)}
    if flags.greedy is False:
        check_ks(flags.ks, flags.n_samples)
    problems = tuple(problem for benchmark in benchmarks.values() for problem in benchmark.problems())
    model = open_model(
        flags.model, options=options, base_url=flags.base_url, max_connections=flags.max_connections, problems=problems
    )
    async with AsyncExitStack() as stack:
        if (close := getattr(model, "aclose", None)) is not None:
            stack.push_async_callback(close)
        plans = [make_plan(task, benchmark, model, flags) for task, benchmark in benchmarks.items()]
        if flags.dry_run:
            for plan in plans:
                click.echo(describe_effort(plan))
            return 0
        boxes = Boxes(stack, flags)
        rows: list[Row] = []
        code = 0
        for plan in plans:
            settings = plan.settings(model, options)
            if flags.problem_file is not None:
                settings["problem_file"] = str(flags.problem_file)
            path = run_path(flags.output, len(plans), plan.task, model.name, settings)
            if flags.fresh and (aside := set_aside(path)) is not None:
                say(f"{path}: the earlier run is now in {aside}")
            done = await carry_out_in(path, plan, settings, model, boxes, flags)
            rows.append(done.row)
            code = max(code, done.code)
            if done.code == INTERRUPTED:
                break
    return finish(rows, code, flags)


def run_path(output: Path | None, runs: int, task: str, model_name: str, settings: Mapping[str, Any]) -> Path:
    """Where a run lives: `output` itself when there is one run, below it when there are several."""
    if output is not None and runs == 1:
        return output
    return (output or Path("runs")) / directory_name(task, model_name, settings)


class Boxes:
    """Opens the box when the first plan needs one, and keeps it for the next."""

    def __init__(self, stack: AsyncExitStack, flags: RunFlags) -> None:
        self.stack = stack
        self.flags = flags
        self.workers = flags.workers or os.cpu_count() or 1
        self._sandbox: Sandbox | None = None

    async def open(self) -> Sandbox:
        """Raises SandboxUnavailable when there is none of the kind asked for."""
        if self._sandbox is None:
            from sandbox.choose import open_sandbox

            # Building an image takes a while, and must not stop the event loop from seeing Ctrl-C.
            chosen = await asyncio.to_thread(
                open_sandbox, self.flags.sandbox_kind, workers=self.workers, consent=self.flags.consent, say=say
            )
            self._sandbox = await self.stack.enter_async_context(chosen)
        return self._sandbox


@dataclass(frozen=True, slots=True)
class Done:
    """One plan carried out as far as it went."""

    row: Row
    code: int


async def carry_out_in(
    path: Path, plan: Plan, settings: dict[str, Any], model: Model | None, boxes: Boxes, flags: RunFlags
) -> Done:
    """Carry out `plan` in `path`, with what is there already; derive results and scores."""
    with RunDirectory(path) as store:
        record = prepare(store, settings)
        executed = {key for key, _ in store.executions()}
        keys = plan.sample_keys()
        missing = sum(key not in executed for key in keys)
        sandbox = await boxes.open() if flags.execute and missing else None
        if sandbox is not None:
            await record_box(store, record, sandbox)
        say(f"{path}: {plan.task}, {len(keys)} samples" + (f", {len(executed)} already done" if executed else ""))
        with Progress(plan.task, missing, quiet=flags.quiet or flags.as_json) as progress:
            run = Run(store, plan.rules, progress, say)
            interrupted = await until_stopped(
                run,
                carry_out(plan, run, model=model, sandbox=sandbox, connections=flags.max_connections, workers=boxes.workers),
            )
        checks = {key: case.check for key, case in keyed_cases(plan)}
        graded = outcomes(keys, checks, plan.rules, store, run.faults)
        if not flags.execute:
            generated = {key for key, _ in store.samples()}
            left = [key for key in keys if key not in generated]
            row = make_row(path, settings, plan, Score(0, 0, 0, 0, len(left), {}, {}))
            return Done(row, exit_code(bool(left), interrupted))
        derived = score(graded, flags.ks, len(plan.benchmark.problems()))
        store.write_results([result_record(index, key, outcome) for index, (key, outcome) in enumerate(graded.items())])
        store.write_scores({"rules": rules_name(plan), "score": derived.to_json()})
        tell_faults([outcome for outcome in graded.values() if isinstance(outcome, Fault)])
        return Done(make_row(path, settings, plan, derived), exit_code(not derived.complete, interrupted))


def keyed_cases(plan: Plan) -> Iterator[tuple[Key, Any]]:
    """(key, case) of all a plan's samples."""
    from harness.tasks import case_index

    cases = case_index(plan.problems)
    for key in plan.sample_keys():
        yield key, cases[key.problem, key.case][1]


def rules_name(plan: Plan) -> str:
    return f"{plan.rules.name}/{plan.rules.version}"


def make_row(path: Path, settings: Mapping[str, Any], plan: Plan, derived: Score) -> Row:
    return Row(
        plan.task, settings["model"]["name"], settings["protocol"], rules_name(plan), plan.benchmark.digest, derived, path
    )


def prepare(store: RunDirectory, settings: dict[str, Any]) -> dict[str, Any]:
    """run.json: written once; a later command must agree with it."""
    record = store.settings()
    if record is None:
        record = {
            "settings": settings,
            "box": None,
            "made_with": {"mtpb": harness_version(), "python": platform.python_version(), "system": platform.system()},
        }
        store.write_settings(record)
    else:
        check_resumable(str(store.path), record["settings"], settings)
    return record


async def record_box(store: RunDirectory, record: dict[str, Any], sandbox: Sandbox) -> None:
    """Facts of the box go into run.json before the first program; a later box must be the same."""
    facts = json.loads(json.dumps((await sandbox.facts()).to_json()))
    if record["box"] is None:
        record["box"] = facts
        store.write_settings(record)
    else:
        check_resumable(f"{store.path}: box", record["box"], facts)


async def until_stopped(run: Run, work: Any) -> bool:
    """Await `work`; the first Ctrl-C lets what is in flight finish, the second stops at once. True when interrupted."""
    task = asyncio.ensure_future(work)
    presses = 0

    def pressed() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            say("\nfinishing what is in flight; Ctrl-C again stops at once")
            run.stop()
        else:
            task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        await task
    except asyncio.CancelledError:
        if presses == 0:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return presses > 0


# ---- what is said at the end ---------------------------------------------------------------------------------------


def exit_code(incomplete: bool, interrupted: bool) -> int:
    if interrupted:
        return INTERRUPTED
    return INCOMPLETE if incomplete else 0


def tell_faults(faults: list[Fault]) -> None:
    """The kinds of failure of our side, most frequent first; a run with faults is incomplete."""
    counted: dict[Fault, int] = {}
    for fault in faults:
        counted[fault] = counted.get(fault, 0) + 1
    for fault, count in sorted(counted.items(), key=lambda item: -item[1])[:5]:
        say(f"{count} faults ({fault.where}): {fault.message}")


def resume_command() -> str:
    """The command that continues: the one that was typed."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--fresh"]
    return shlex.join(["mtpb", *arguments])


def finish(rows: list[Row], code: int, flags: RunFlags) -> int:
    """Print the table, the place of the run, and what to type next; the exit code."""
    if not flags.execute:
        paths = [str(row.path) for row in rows]
        click.echo(json.dumps({"runs": paths}) if flags.as_json else "\n".join(paths))
    elif flags.as_json:
        click.echo(json.dumps({"runs": [row_to_json(row) for row in rows]}, indent=2))
    else:
        click.echo(to_markdown(rows))
        for row in rows:
            click.echo(f"{row.path}: {describe_verdicts(row.score)}")
    if code in (INCOMPLETE, INTERRUPTED):
        say(f"incomplete; this continues: {resume_command()}")
    if code == 0 and flags.fail_under is not None:
        return gate(rows, flags.ks[0], flags.fail_under)
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
