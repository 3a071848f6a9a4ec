"""What `run`, `generate`, `demo` and `execute RUN` have in common: from flags to a plan, from a plan to a table."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.cli.telling import INTERRUPTED, describe_effort, exit_code, finish, say, tell_faults
from harness.derive import derive, rules_name
from harness.errors import UsageError
from harness.leaderboard import Row
from harness.nouns import Check, Fault, Key, Sampling
from harness.plan import LimitSettings, Plan, check_resumable, directory_name, harness_version
from harness.progress import Progress
from harness.protocols import Benchmark, Model, Rules
from harness.runner import Run, carry_out
from harness.score import Score
from harness.store import RunDirectory, set_aside
from harness.tasks import Subset, open_benchmark
from sandbox import Sandbox


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


# ---- from flags to plans -------------------------------------------------------------------------------------------


def make_plan(task: str, benchmark: Benchmark, model: Model, flags: RunFlags) -> Plan:
    """Raises UsageError for what cannot be done as asked."""
    subset = Subset(flags.limit, flags.limit_cases, flags.problem_ids, flags.categories)
    spoken: tuple[str, ...] = getattr(model, "protocols", ("completion",))
    if flags.protocol is not None and flags.protocol not in spoken:
        raise UsageError(f"--protocol {flags.protocol}: the adapter of {model.name} speaks {', '.join(spoken)}")
    n_samples = flags.n_samples
    if flags.greedy:
        say("--greedy: temperature 0, and one sample per case, since all would be equal")
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
    if flags.greedy and max(flags.ks) > 1:
        raise UsageError(f"--greedy makes one sample per case, so there is no pass@{max(flags.ks)}; leave one of them out")
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
    return tell(rows, code, flags)


def tell(rows: list[Row], code: int, flags: RunFlags) -> int:
    """The end of a command that has run flags."""
    return finish(rows, code, ks=flags.ks, executed=flags.execute, as_json=flags.as_json, fail_under=flags.fail_under)


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
    keys = plan.sample_keys()
    # Without a box nothing is to be run, not even the model; so it is opened before anything is made.
    done_before = {key for key, _ in RunDirectory(path).executions()}
    sandbox = await boxes.open() if flags.execute and not done_before.issuperset(keys) else None
    with RunDirectory(path) as store:
        record = prepare(store, settings)
        executed = {key for key, _ in store.executions()}
        missing = sum(key not in executed for key in keys)
        if sandbox is not None:
            await record_box(store, record, sandbox)
        say(f"{path}: {plan.task}, {len(keys)} samples" + (f", {len(executed)} already done" if executed else ""))
        with Progress(plan.task, missing, quiet=flags.quiet or flags.as_json) as progress:
            run = Run(store, plan.rules, progress, say)
            interrupted = await until_stopped(
                run,
                carry_out(plan, run, model=model, sandbox=sandbox, connections=flags.max_connections, workers=boxes.workers),
            )
        if not flags.execute:
            generated = {key for key, _ in store.samples()}
            left = sum(key not in generated for key in keys)
            tell_faults(run.faults.values())
            return Done(make_row(path, settings, plan.rules, Score(0, 0, 0, 0, left, {}, {})), exit_code(left > 0, interrupted))
        row = derive_row(path, store, settings, plan.checks(), plan.rules, flags.ks, plan.size_of_benchmark(), run.faults)
        return Done(row, exit_code(not row.score.complete, interrupted))


def derive_row(
    path: Path,
    store: RunDirectory,
    settings: Mapping[str, Any],
    checks: Mapping[Key, Check],
    rules: Rules,
    ks: tuple[int, ...],
    problems_of: int,
    faults: Mapping[Key, Fault],
) -> Row:
    """Derive a run's results and scores, tell its faults, and make its line of the table."""
    derived, left = derive(store, checks, rules, ks, problems_of, faults)
    tell_faults(left)
    return make_row(path, settings, rules, derived)


def make_row(path: Path, settings: Mapping[str, Any], rules: Rules, derived: Score) -> Row:
    return Row(
        task=settings["task"],
        model=settings["model"]["name"],
        protocol=settings["protocol"],
        rules=rules_name(rules),
        benchmark_digest=settings["benchmark_digest"],
        score=derived,
        path=path,
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
