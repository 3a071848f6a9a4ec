"""Programs without a model: `execute` of a run or of a file, and `score` from stored facts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.cli.running import (
    Boxes,
    RunFlags,
    carry_out_in,
    check_ks,
    derive_row,
    prepare,
    record_box,
    tell,
    until_stopped,
)
from harness.cli.telling import exit_code, finish, say
from harness.errors import UsageError
from harness.foreign import (
    MODE,
    ForeignRow,
    checks_digest,
    checks_of,
    execute_rows,
    fewest_samples,
    problems_of,
    read_file,
    store_rows,
    understand,
)
from harness.leaderboard import Row
from harness.nouns import Fault, Key, Sampling
from harness.plan import LimitSettings, Plan, directory_name
from harness.progress import Progress
from harness.protocols import Benchmark
from harness.runner import Run
from harness.store import RunDirectory, damaged, set_aside
from harness.tasks import Subset, open_benchmark


def check_enough(rows: Sequence[ForeignRow], ks: tuple[int, ...]) -> None:
    """Raises UsageError when a case has too few samples for a k: its problem would silently be left out."""
    count, key = fewest_samples(rows)
    if max(ks) > count:
        raise UsageError(f"--k {max(ks)}: there are only {count} samples of {key.problem}; choose k of {count} or less")


def plan_of(path: Path, settings: dict[str, Any]) -> Plan:
    """The plan a run directory was made by. Raises UsageError when the task's problems are other ones today."""
    benchmark = open_task(settings)
    check_digest(path, settings, benchmark.digest)
    subset = Subset.from_json(settings["subset"])
    return Plan(
        task=settings["task"],
        benchmark=benchmark,
        problems=subset.of(benchmark),
        subset=subset,
        protocol=benchmark.protocol(settings["protocol"].split("/")[0]),
        rules=benchmark.rules(),
        sampling=Sampling(**settings["sampling"]),
        n_samples=settings["n_samples"],
        seed=settings["seed"],
        max_new_tokens=settings["max_new_tokens"],
        limits=LimitSettings(**settings["limits"]),
    )


def open_task(settings: dict[str, Any]) -> Benchmark:
    problem_file = settings.get("problem_file")
    return open_benchmark(settings["task"], Path(problem_file) if problem_file else None)


def check_digest(path: Path, settings: dict[str, Any], digest: str) -> None:
    """Raises UsageError when a run was made on other problems than the task has now: its verdicts would mix the two."""
    if settings["benchmark_digest"] != digest:
        raise UsageError(
            f"{path}: made on problems of task {settings['task']} with digest {settings['benchmark_digest'][:12]}, "
            f"which now has {digest[:12]}; use the version of the problems it was made with"
        )


def read_settings(path: Path) -> dict[str, Any]:
    """run.json's settings. Raises UsageError when there is no run at `path`."""
    record = RunDirectory(path).settings()
    if record is None:
        raise UsageError(f"{path}: no run.json here, so this is not a run directory")
    settings = record.get("settings")
    wanted = {"task", "mode", "model", "protocol", "limits", "benchmark_digest"}
    if not isinstance(settings, dict) or not wanted <= settings.keys() or not isinstance(settings["model"], dict):
        raise damaged(f"{path / 'run.json'}: its settings lack {', '.join(sorted(wanted))}")
    return settings


# ---- execute -------------------------------------------------------------------------------------------------------


async def execute_run(path: Path, **flags: Any) -> int:
    """Run the programs of a generated run, where it is."""
    settings = read_settings(path)
    if flags.pop("output") is not None or flags.pop("fresh") or flags["task"] or flags["problem_file"]:
        raise UsageError(
            f"{path} is a run directory: it says its task, and its results go into it; "
            "leave out -o, --fresh, --task and --problem-file"
        )
    del flags["task"], flags["problem_file"]
    if settings["mode"] == MODE:
        raise UsageError(f"{path}: this run was made from a file of samples; `mtpb execute FILE -o {path}` continues it")
    asked = LimitSettings(flags["time_limit"], flags["memory_limit"], flags["output_limit"])
    if asked not in (LimitSettings(), LimitSettings(**settings["limits"])):
        choose_limits(path, settings, asked)
    plan = plan_of(path, settings)
    chosen = RunFlags(execute=True, model="", **flags)
    check_ks(chosen.ks, plan.n_samples)
    async with AsyncExitStack() as stack:
        done = await carry_out_in(path, plan, settings, None, Boxes(stack, chosen), chosen)
    return tell([done.row], done.code, chosen)


def choose_limits(path: Path, settings: dict[str, Any], asked: LimitSettings) -> None:
    """Limits are chosen with the first execution. Raises UsageError when there are executions under other ones."""
    settings["limits"] = asdict(asked)
    with RunDirectory(path) as store:
        if any(True for _ in store.executions()):
            raise UsageError(
                f"{path}: its programs were run under other limits; leave --time-limit and its like out, or generate anew"
            )
        store.write_settings({**(store.settings() or {}), "settings": settings})


async def execute_file(path: Path, **flags: Any) -> int:
    """Run the programs of a file of samples made elsewhere."""
    task = flags.pop("task")
    if task is None:
        raise UsageError(
            f"{path}: --task is needed, to know the format and the rules of these samples (for example --task humaneval)"
        )
    chosen = RunFlags(execute=True, model="", **flags)
    benchmark = open_benchmark(task, chosen.problem_file)
    limits = LimitSettings(chosen.time_limit, chosen.memory_limit, chosen.output_limit)
    rows = understand(task, benchmark, read_file(path), limits)
    check_enough(rows, chosen.ks)
    settings: dict[str, Any] = {
        "task": task,
        "benchmark_digest": checks_digest(rows),
        "model": {"name": path.stem, "digest": hashlib.sha256(path.read_bytes()).hexdigest(), "options": {}},
        "mode": MODE,
        "protocol": "",
        "limits": asdict(limits),
    }
    if chosen.problem_file is not None:
        settings["problem_file"] = str(chosen.problem_file)
    directory = chosen.output or Path("runs") / directory_name(task, path.stem, settings)
    if chosen.fresh and (aside := set_aside(directory)) is not None:
        say(f"{directory}: the earlier run is now in {aside}")
    async with AsyncExitStack() as stack:
        boxes = Boxes(stack, chosen)
        with RunDirectory(directory) as store:
            record = prepare(store, settings)
            store_rows(store, rows)
            executed = {key for key, _ in store.executions()}
            missing = sum(row.key not in executed for row in rows)
            faults: dict[Key, Fault] = {}
            interrupted = False
            if missing:
                sandbox = await boxes.open()
                await record_box(store, record, sandbox)
                with Progress(task, missing, quiet=chosen.quiet or chosen.as_json) as progress:
                    run = Run(store, benchmark.rules(), progress, say)
                    interrupted = await until_stopped(run, execute_rows(rows, run, sandbox, boxes.workers))
                    faults = run.faults
            row = derive_row(
                directory, store, settings, checks_of(rows), benchmark.rules(), chosen.ks, problems_of(benchmark, rows), faults
            )
    return tell([row], exit_code(not row.score.complete, interrupted), chosen)


# ---- score ---------------------------------------------------------------------------------------------------------


def score_runs(paths: Sequence[Path], ks: tuple[int, ...], as_json: bool, fail_under: float | None) -> int:
    """Derive results.jsonl and scores.json of each run anew."""
    rows = [score_run(path, ks) for path in paths]
    code = max(exit_code(not row.score.complete, False) for row in rows)
    return finish(
        rows, code, ks=ks, as_json=as_json, fail_under=fail_under, resume="the `mtpb run` or `mtpb execute` that made it"
    )


def score_run(path: Path, ks: tuple[int, ...]) -> Row:
    """One run's results and scores, from what its directory holds."""
    settings = read_settings(path)
    with RunDirectory(path) as store:
        if settings["mode"] == MODE:
            benchmark = open_task(settings)
            lines = [(f"{path / 'samples.jsonl'}: {key.problem}", record["row"]) for key, record in store.samples()]
            rows = understand(settings["task"], benchmark, lines, LimitSettings(**settings["limits"]))
            check_digest(path, settings, checks_digest(rows))
            check_enough(rows, ks)
            return derive_row(path, store, settings, checks_of(rows), benchmark.rules(), ks, problems_of(benchmark, rows), {})
        plan = plan_of(path, settings)
        check_ks(ks, plan.n_samples)
        return derive_row(path, store, settings, plan.checks(), plan.rules, ks, plan.size_of_benchmark(), {})
