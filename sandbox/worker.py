"""One guest behind its wall, as the host sees it: asked one thing at a time, from one thread at a time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from sandbox.bootstrap import PYTHON_ARGUMENTS, first_line
from sandbox.contract import Ending, Execution, Limits, Program, Tested
from sandbox.wall import ChannelClosed, Wall

START_SECONDS = 120.0
GRACE_SECONDS = 15.0  # beyond a program's wall time, for what the guest does before and after
_END = b'{"end":true}'


class WorkerLost(Exception):
    """The worker ended, stopped answering or made no sense. It is of no more use."""


class Worker:
    """A started guest. Any WorkerLost means: kill it and take another one."""

    def __init__(self, wall: Wall, memory_mib: int) -> None:
        """Start a guest and wait until it is ready. Raises SandboxError or WorkerLost."""
        self.memory_mib = memory_mib
        self.programs = 0
        self.dirty = False  # something a program left may still be there
        self._channel = wall.start(PYTHON_ARGUMENTS, memory_mib)
        try:
            # RLIMIT_NPROC counts a user's processes on the whole machine, so that workers must not share user ids.
            uid_base = 1_000_000 + 10_000 * secrets.randbelow(100_000)
            separation = "none" if wall.name == "none" else "auto"
            self._send(first_line(uid_base=uid_base, separation=separation), "starting")
            ready = self._message(self._receive(START_SECONDS, "starting"), "ready", "starting")
            self.python = str(ready["python"])
            self.packages = {str(name): str(version) for name, version in ready["packages"].items()}
            self.separation = str(ready["separation"])
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the guest and all that runs in it. May be called from any thread."""
        self._channel.kill()

    def run(self, program: Program, limits: Limits, judge: Callable[[], Worker]) -> Execution:
        """Run `program` to its end; `judge()` gives the worker for its tests, asked for when they are about to run."""
        self.programs += 1
        if program.tests is None:
            self._ask(limits, source=program.source)
            return self._execution(limits)
        self._ask(limits, source=program.source, serve=program.tests.entry_point)
        line = self._receive(limits.wall_seconds + GRACE_SECONDS, "running a program")
        if json_key(line) != "serving":
            return _failed(self._ended(line))
        return self._tested(program, limits, judge())

    def _tested(self, program: Program, limits: Limits, judge: Worker) -> Execution:
        """Relay calls and answers between the test and the program, unread."""
        tests = program.tests
        if tests is None:
            raise ValueError("a program without tests")
        judge.programs += 1
        judge._ask(limits, source=tests.source, proxy=tests.entry_point)
        seconds = limits.wall_seconds + GRACE_SECONDS
        while (line := judge._receive(seconds, "running tests")).startswith(b"="):
            self._send(line, "passing on a call")
            answer = self._receive(seconds, "answering a call")
            if not answer.startswith(b"="):
                execution = self._ended(answer)
                judge._end(limits)
                return _failed(execution)
            judge._send(answer, "passing on an answer")
        verdict = judge._ended(line)
        execution = self._end(limits)
        if verdict.ending is Ending.TIMED_OUT and execution.ending is Ending.FINISHED:
            execution = replace(execution, ending=Ending.TIMED_OUT, detail=verdict.detail)
        if execution.ending is not Ending.FINISHED:
            return _failed(execution)
        passed = verdict.ending is Ending.FINISHED
        return replace(execution, tested=Tested(passed, "" if passed else verdict.detail or str(verdict.ending)))

    # ---- lines -----------------------------------------------------------------------------------------------------

    def _ask(self, limits: Limits, **request: Any) -> None:
        request["limits"] = {**asdict(limits), "wall_seconds": limits.wall_seconds}
        self._send(json.dumps({"run": request}).encode(), "being given a program")

    def _end(self, limits: Limits) -> Execution:
        """Tell the guest that its program is not needed any more."""
        self._send(_END, "ending a program")
        return self._execution(limits)

    def _execution(self, limits: Limits) -> Execution:
        while (line := self._receive(limits.wall_seconds + GRACE_SECONDS, "running a program")).startswith(b"="):
            pass  # an answer that nobody waits for any more
        return self._ended(line)

    def _ended(self, line: bytes) -> Execution:
        message = self._message(line, "execution", "running a program")
        try:
            return Execution.from_json(message)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise WorkerLost(f"it reported no execution: {error}") from error

    def _message(self, line: bytes, key: str, doing: str) -> dict[str, Any]:
        try:
            message = json.loads(line)
            if message.get("dirty"):
                self.dirty = True
            found = message[key]
            if not isinstance(found, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            said = line[:300].decode("utf-8", "replace")
            raise WorkerLost(f"while {doing} it said {said!r}") from None
        return found

    def _send(self, line: bytes, doing: str) -> None:
        try:
            self._channel.send(line)
        except ChannelClosed as error:
            raise WorkerLost(f"while {doing} it ended: {error}") from error

    def _receive(self, timeout_seconds: float, doing: str) -> bytes:
        try:
            return self._channel.receive(timeout_seconds)
        except TimeoutError:
            raise WorkerLost(f"while {doing} it said nothing for {timeout_seconds:g} s") from None
        except ChannelClosed as error:
            raise WorkerLost(f"while {doing} it ended: {error}") from error


def json_key(line: bytes) -> str:
    """The only key of a message, "" for what is no message."""
    try:
        (key,) = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return ""
    return str(key)


def _failed(execution: Execution) -> Execution:
    detail = f"{execution.ending}: {execution.detail}" if execution.detail else str(execution.ending)
    return replace(execution, tested=Tested(False, detail))
