"""The box: several workers behind one kind of wall, and what to do when one of them is lost."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self, TypeVar

from sandbox.contract import BoxFacts, Ending, Execution, Limits, Program, SandboxError
from sandbox.wall import Wall
from sandbox.worker import Worker, WorkerLost

T = TypeVar("T")

ATTEMPTS = 3
PROGRAMS_PER_WORKER = 1000
HEADROOM_MIB = 768  # what a guest needs beside its program: the interpreter, preloaded packages, files in memory


class _Slot:
    """The worker of one thread, and the one that judges for it, each started when first needed."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.judge: Worker | None = None


class Pool:
    """`workers` programs at a time behind `wall`. See `sandbox.contract.Sandbox`.

    A worker that is lost is replaced and its program tried again, `ATTEMPTS` times in all. A program that reached its wall time
    without using up its CPU time is run once more, with nothing else running, before that counts.
    """

    def __init__(self, wall: Wall, workers: int = 2, *, programs_per_worker: int = PROGRAMS_PER_WORKER) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._wall = wall
        self._workers = workers
        self._programs_per_worker = programs_per_worker
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for _ in range(workers):
            self._slots.put(_Slot())
        self._alive: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._gate = _Gate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with self._lock:
            self._closed = True
            alive = list(self._alive)
        for worker in alive:
            worker.kill()
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)
        self._wall.close()

    async def facts(self) -> BoxFacts:
        def look() -> BoxFacts:
            slot = self._slots.get()
            try:
                worker = slot.worker = slot.worker or self._start(HEADROOM_MIB + Limits().memory_mib)
            except WorkerLost as lost:
                raise SandboxError(f"the sandbox ({self._wall.name}) does not start: {lost}") from lost
            finally:
                self._slots.put(slot)
            return BoxFacts(self._wall.name, worker.python, worker.packages, self._wall.image)

        return await self._in_thread(look)

    async def run(self, program: Program, limits: Limits) -> Execution:
        async with self._gate.shared():
            execution = await self._in_thread(lambda: self._attempts(program, limits))
        if execution.ending is not Ending.TIMED_OUT or execution.detail != "wall":
            return execution
        async with self._gate.alone():
            confirmed = await self._in_thread(lambda: self._attempts(program, limits))
        return replace(confirmed, earlier_attempts=("wall",))

    async def _in_thread(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, action)

    # ---- in a worker thread ----------------------------------------------------------------------------------------

    def _attempts(self, program: Program, limits: Limits) -> Execution:
        slot = self._slots.get()
        lost: list[str] = []
        try:
            while len(lost) < ATTEMPTS and not self._closed:
                try:
                    return self._attempt(slot, program, limits)
                except (WorkerLost, SandboxError) as error:
                    lost.append(str(error))
                    self._drop(slot)
        finally:
            self._slots.put(slot)
        if self._closed:
            raise SandboxError("the sandbox was closed before the program ended")
        raise SandboxError(
            f"the sandbox ({self._wall.name}) lost its worker {ATTEMPTS} times over one program; the last time: {lost[-1]}"
        )

    def _attempt(self, slot: _Slot, program: Program, limits: Limits) -> Execution:
        needed = limits.memory_mib + HEADROOM_MIB

        def ready(worker: Worker | None) -> Worker:
            if worker is not None and not self._worn_out(worker, needed):
                return worker
            if worker is not None:
                self._end(worker)
            return self._start(needed)

        def judge() -> Worker:
            slot.judge = ready(slot.judge)
            return slot.judge

        slot.worker = ready(slot.worker)
        return slot.worker.run(program, limits, judge)

    def _worn_out(self, worker: Worker, needed_mib: int) -> bool:
        return worker.dirty or worker.programs >= self._programs_per_worker or worker.memory_mib < needed_mib

    def _start(self, memory_mib: int) -> Worker:
        worker = Worker(self._wall, memory_mib)
        with self._lock:
            self._alive.add(worker)
            closed = self._closed
        if closed:
            self._end(worker)
            raise SandboxError("the sandbox is closed")
        return worker

    def _end(self, worker: Worker) -> None:
        with self._lock:
            self._alive.discard(worker)
        worker.kill()

    def _drop(self, slot: _Slot) -> None:
        for worker in (slot.worker, slot.judge):
            if worker is not None:
                self._end(worker)
        slot.worker = slot.judge = None


class _Gate:
    """Many at a time, or one alone. Whoever wants to be alone goes before those who come later."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inside = 0
        self._waiting_alone = 0
        self._someone_alone = False

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting_alone and not self._someone_alone)
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._changed:
            self._waiting_alone += 1
            try:
                await self._changed.wait_for(lambda: not self._inside)
            finally:
                self._waiting_alone -= 1
                self._changed.notify_all()
            self._inside += 1
            self._someone_alone = True
        try:
            yield
        finally:
            self._someone_alone = False
            await self._leave()

    async def _leave(self) -> None:
        self._inside -= 1
        async with self._changed:
            self._changed.notify_all()
