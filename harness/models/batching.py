"""Turns a synchronous function over a batch of requests into a Model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.errors import ModelError
from harness.nouns import Completion, Request

BatchFunction = Callable[[Sequence[Request]], Sequence[Completion]]


class BatchModel:
    """Collects the requests that are pending, and answers them together in a thread, one batch at a time."""

    def __init__(self, name: str, function: BatchFunction, max_batch: int, protocols: tuple[str, ...], digest: str) -> None:
        self.name = name
        self.protocols = protocols
        self.digest = digest
        self._function = function
        self._max_batch = max_batch
        self._pending: list[tuple[Request, asyncio.Future[Completion]]] = []
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def complete(self, request: Request) -> Completion:
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._pending.append((request, answer))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._pending:
            # Requests that became ready in this round of the event loop belong to the same batch.
            await asyncio.sleep(0)
            waiting = [(request, answer) for request, answer in self._pending if not answer.done()]
            batch, self._pending = waiting[: self._max_batch], waiting[self._max_batch :]
            requests = [request for request, _ in batch]
            try:
                completions = await asyncio.get_running_loop().run_in_executor(self._thread, self._function, requests)
                if len(completions) != len(batch):
                    raise ModelError(f"{self.name}: {len(batch)} requests got {len(completions)} answers", retryable=False)
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), completion in zip(batch, completions, strict=True):
                    if not answer.done():
                        answer.set_result(completion)

    async def aclose(self) -> None:
        """Waits for the batch in work; what is still pending is cancelled."""
        for _, answer in self._pending:
            answer.cancel()
        self._pending = []
        if self._runner is not None:
            await self._runner
        self._thread.shutdown()


def from_batch_function(
    name: str, function: BatchFunction, *, max_batch: int, protocols: tuple[str, ...] = ("completion",), digest: str = ""
) -> BatchModel:
    """A Model that calls `function` with up to `max_batch` requests at a time, in a thread, never twice at once.

    `function` returns one Completion per request, in order; what it raises is raised to every request of the batch.
    """
    return BatchModel(name, function, max_batch, protocols, digest)
