"""Drives a plan: conversations in flight at different turns, programs in the box as they are finished, facts appended.

Model and sandbox failures become Faults; they are not stored, so resuming tries them again.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from harness.converse import converse
from harness.errors import ModelError, MtpbError
from harness.grade import grade, silence
from harness.nouns import Asserts, Case, Check, Conversation, Fault, Key, Problem, Verdict
from harness.plan import Plan
from harness.progress import Progress
from harness.protocols import Model, Rules
from harness.store import RunDirectory, conversation_from_record, execution_record, sample_record
from harness.tasks import case_index
from sandbox import Limits, Program, Sandbox, SandboxError, Tests

# So many failures of the model in a row, with nothing between them that worked, mean that it is gone.
GIVE_UP_AFTER = 12


@dataclass(frozen=True, slots=True)
class Job:
    """A program that waits for the box."""

    key: Key
    program: Program
    limits: Limits
    check: Check
    silence: Verdict | None = None


def _place(error: Exception) -> str:
    """File and line where an exception was raised; the file without its folder, because results hold no paths."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno}"


def whole_program(source: str, check: Check) -> Program:
    """`source`, with the trusted tests apart when `check` asserts."""
    match check:
        case Asserts(tests, entry_point):
            return Program(source, Tests(tests, entry_point))
        case _:
            return Program(source)


class Run:
    """One plan being carried out into one run directory.

    `stop()` lets what is in flight finish, and starts nothing new.
    """

    def __init__(self, store: RunDirectory, rules: Rules, progress: Progress, say: Callable[[str], None]) -> None:
        self.store = store
        self.rules = rules
        self.progress = progress
        self.say = say
        self.faults: dict[Key, Fault] = {}
        self.asking = True  # new conversations may begin
        self.executing = True  # programs that wait for the box may enter it
        self._model_failures = 0

    def stop(self) -> None:
        """Let what is in flight finish, and begin nothing new."""
        self.asking = self.executing = False

    # ---- the two stages ----

    async def converse_all(
        self, plan: Plan, model: Model, keys: Iterable[Key], connections: int, done: Callable[[Conversation], None]
    ) -> None:
        """Hold the conversations `keys`, `connections` at a time; store each, and hand it to `done`."""
        cases = case_index(plan.problems)
        waiting = deque(keys)

        async def talk() -> None:
            while waiting and self.asking:
                key = waiting.popleft()
                problem, case = cases[key.problem, key.case]
                conversation = await self._converse(plan, model, problem, case, key)
                if conversation is not None:
                    self.store.append_sample(sample_record(conversation, problem.digest))
                    done(conversation)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(connections, len(waiting))):
                group.create_task(talk())
        for key in waiting:
            self.faults[key] = Fault("model", "not asked: the run was stopped")

    async def _converse(self, plan: Plan, model: Model, problem: Problem, case: Case, key: Key) -> Conversation | None:
        try:
            conversation = await converse(
                model,
                plan.protocol,
                problem,
                case,
                key,
                sampling=plan.sampling,
                max_new_tokens=plan.max_new_tokens,
                seed=plan.seed,
            )
        except ModelError as error:
            self._fault(key, Fault("model", str(error)))
        except Exception as error:  # an adapter's bug is our side's failure too, not the model's
            self._fault(
                key, Fault("model", f"the adapter of {model.name} raised {type(error).__name__}: {error} ({_place(error)})")
            )
        else:
            self._model_failures = 0
            return conversation
        self._model_failures += 1
        if self._model_failures >= GIVE_UP_AFTER and self.asking:
            self.say(f"the model failed {self._model_failures} times in a row, last with: {self.faults[key].message}; stopping")
            self.asking = False
        return None

    async def execute_all(self, jobs: asyncio.Queue[Job | None], sandbox: Sandbox, workers: int) -> None:
        """Run every job that comes, until None does; store what happened."""

        async def execute() -> None:
            while (job := await jobs.get()) is not None:
                if self.executing:
                    await self._execute(job, sandbox)
                else:
                    self.faults[job.key] = Fault("sandbox", "not executed: the run was stopped")
            jobs.put_nowait(None)  # for the next worker

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(execute())

    async def _execute(self, job: Job, sandbox: Sandbox) -> None:
        try:
            execution = await sandbox.run(job.program, job.limits)
        except SandboxError as error:
            self._fault(job.key, Fault("sandbox", str(error)))
            return
        self.store.append_execution(execution_record(job.key, job.program, execution))
        self.progress.count(grade(job.check, execution, self.rules, job.silence))

    def _fault(self, key: Key, fault: Fault) -> None:
        self.faults[key] = fault
        self.progress.count(fault)


def native_job(plan: Plan, cases: Mapping[tuple[str, str], tuple[Problem, Case]], conversation: Conversation) -> Job:
    """The program of a finished conversation, and what it may use."""
    problem, case = cases[conversation.key.problem, conversation.key.case]
    return Job(
        conversation.key,
        plan.benchmark.compose(case, conversation),
        plan.limits.limits(problem.cpu_seconds, problem.memory_mib, plan.benchmark.default_cpu_seconds),
        case.check,
        silence(conversation),
    )


async def carry_out(
    plan: Plan, run: Run, *, model: Model | None, sandbox: Sandbox | None, connections: int, workers: int
) -> None:
    """Do what of `plan` is not in the run directory yet.

    Conversations are held when there is a model, programs are run when there is a sandbox.
    """
    cases = case_index(plan.problems)
    keys = plan.sample_keys()
    executed = {key for key, _ in run.store.executions()}
    jobs: asyncio.Queue[Job | None] = asyncio.Queue()
    sampled: set[Key] = set()
    for key, record in run.store.samples():
        sampled.add(key)
        if sandbox is not None and key not in executed and (key.problem, key.case) in cases:
            jobs.put_nowait(native_job(plan, cases, conversation_from_record(record)))

    if lost := executed - sampled:
        raise MtpbError(
            f"{run.store.path}: executions.jsonl has {len(lost)} samples that samples.jsonl lacks, first {min(lost)}; "
            "the files are damaged: restore them, or begin anew with --fresh"
        )

    def finished(conversation: Conversation) -> None:
        if sandbox is None:
            run.progress.step()
        else:
            jobs.put_nowait(native_job(plan, cases, conversation))

    async with asyncio.TaskGroup() as group:
        if sandbox is not None:
            group.create_task(run.execute_all(jobs, sandbox, workers))
        if model is not None:
            await run.converse_all(plan, model, [key for key in keys if key not in sampled], connections, finished)
        jobs.put_nowait(None)
