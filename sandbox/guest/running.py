"""One program, from its fork to the last of what it left."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, Protocol

from sandbox.guest import kernel
from sandbox.guest import limits as limit
from sandbox.guest.calls import MAX_LINE
from sandbox.guest.program import run as run_program
from sandbox.guest.reports import MAX_REPORT, Report, ending_of, read_report
from sandbox.guest.separation import Ended, Separation

END = b'{"end":true}'
OUTPUT_BYTES = 64 << 20  # written in all, by stdout and stderr together
TICK_SECONDS = 0.2  # how often the memory of a program of several processes is added up
LAST_WORDS_SECONDS = 1.0  # for a program that has answered its last call
REPORT, CALLS = 700, 701  # descriptors, out of the way of programs that close or count theirs


class Host(Protocol):
    """What a run needs of the supervisor."""

    control: int
    wake: int
    separation: Separation

    def send(self, line: bytes) -> None: ...
    def tell(self, message: dict[str, Any]) -> None: ...
    def receive_some(self) -> None: ...
    def next_line(self) -> bytes | None: ...


class _Stream:
    """What the program writes to one descriptor: kept up to a size, counted beyond, never waited for."""

    def __init__(self, keep: int) -> None:
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        self.keep = keep
        self.kept = bytearray()
        self.total = 0

    def drain(self) -> bool:
        """Read what is there, or a mebibyte of it. False at the end of the stream."""
        for _ in range(16):
            try:
                chunk = os.read(self.source, 1 << 16)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.total += len(chunk)
            if len(self.kept) < self.keep:
                self.kept += chunk[: self.keep - len(self.kept)]
        return True


class Run:
    """Runs one request to its end."""

    def __init__(self, host: Host, request: dict[str, Any], baseline: limit.Baseline) -> None:
        self._host = host
        self._request = request
        self._baseline = baseline
        self._limits: dict[str, Any] = request["limits"]
        self._stopped: tuple[str, str] | None = None
        self._serving = self._told_to_end = False
        self._answer = bytearray()
        self._report: Report | None = None

    def to_end(self) -> dict[str, Any]:
        """The answer to the request. Whatever happens, nothing of the program is left, or the answer says "dirty"."""
        keep = self._limits["output_kib"] << 10
        self._stdout, self._stderr, self._told = _Stream(keep), _Stream(keep), _Stream(MAX_REPORT + 1)
        self._calls: socket.socket | None = None
        far: socket.socket | None = None
        if self._request.get("serve") or self._request.get("proxy"):
            self._calls, far = socket.socketpair()
        separation = self._host.separation
        start = time.monotonic()
        self._deadline = start + self._limits["wall_seconds"]
        try:
            separation.start(lambda: self._in_child(far), self._limits["processes"])
        except OSError as error:
            return {"failed": f"could not start a program: {error}"}
        finally:
            for stream in (self._stdout, self._stderr, self._told):
                os.close(stream.sink)
            if far is not None:
                far.close()
        try:
            ended = self._watch(separation)
            wall = time.monotonic() - start
        except BaseException:
            separation.stop()
            while separation.reap() is None:
                time.sleep(0.001)
            separation.sweep()
            raise
        for stream in (self._stdout, self._stderr, self._told):
            stream.drain()
        clean = separation.sweep()
        for stream in (self._stdout, self._stderr, self._told):
            os.close(stream.source)
        if self._calls is not None:
            self._calls.close()
        answer: dict[str, Any] = {"execution": self._execution(ended, wall)}
        if not clean:
            answer["dirty"] = True
        return answer

    def _in_child(self, far: socket.socket | None) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(self._stdout.sink, 1)
            os.dup2(self._stderr.sink, 2)
            os.dup2(self._told.sink, REPORT, inheritable=False)
            calls = None if far is None else os.dup2(far.detach(), CALLS, inheritable=False)
            os.closerange(3, REPORT)
            os.closerange(REPORT + 1 if calls is None else CALLS + 1, 4096)
            kernel.leave_session_keyring()
            limit.apply(self._limits, self._baseline)
            run_program(self._request, REPORT, calls)
        finally:
            os._exit(70)

    # ---- while it runs ---------------------------------------------------------------------------------------------

    def _watch(self, separation: Separation) -> Ended:
        poll = select.poll()
        actions: dict[int, Callable[[], bool]] = {
            self._host.control: self._from_host,
            self._host.wake: self._woken,
            self._stdout.source: self._stdout.drain,
            self._stderr.source: self._stderr.drain,
            self._told.source: self._reported,
        }
        if self._calls is not None:
            self._calls.setblocking(False)
            actions[self._calls.fileno()] = partial(self._from_program, self._calls)
        for descriptor in actions:
            poll.register(descriptor, select.POLLIN)
        next_tick = time.monotonic() + TICK_SECONDS
        while True:
            now = time.monotonic()
            for descriptor, _ in poll.poll(max(0.0, min(next_tick, self._deadline) - now) * 1000 + 1):
                if not actions[descriptor]():
                    poll.unregister(descriptor)
            ended = separation.reap()
            if ended is not None:
                return ended
            now = time.monotonic()
            if self._stdout.total + self._stderr.total > OUTPUT_BYTES:
                self._stop("output_limit", f"more than {OUTPUT_BYTES >> 20} MiB written")
            elif now >= self._deadline:
                self._stop("timed_out", "wall")
            elif now >= next_tick:
                next_tick = now + TICK_SECONDS
                memory = limit.tree_memory(self._baseline)
                if memory > self._limits["memory_mib"] << 20:
                    self._stop("memory", f"its processes together used {memory >> 20} MiB")

    def _stop(self, ending: str, detail: str) -> None:
        if self._stopped is None and not self._told_to_end:
            self._stopped = (ending, detail)
        self._deadline = time.monotonic() + TICK_SECONDS
        self._host.separation.stop()

    def _woken(self) -> bool:
        with suppress(BlockingIOError):
            os.read(self._host.wake, 4096)
        return True

    def _reported(self) -> bool:
        more = self._told.drain()
        if self._told.total > MAX_REPORT:
            self._stop("killed", "wrote too much to a descriptor that is not its own")
        elif not self._serving and self._request.get("serve") and self._told.kept.endswith(b"\n"):
            self._report = read_report(bytes(self._told.kept))
            if self._report is not None and self._report.ending == "finished":
                self._serving = True
                self._host.tell({"serving": True})
        return more

    def _from_host(self) -> bool:
        self._host.receive_some()
        while (line := self._host.next_line()) is not None:
            if line == END:
                self._told_to_end = True
                self._deadline = time.monotonic() + LAST_WORDS_SECONDS
                if self._request.get("proxy") or not self._serving:
                    self._host.separation.stop()
                elif self._calls is not None:
                    with suppress(OSError):
                        self._calls.shutdown(socket.SHUT_WR)
            elif line.startswith(b"=") and self._calls is not None:
                self._pass_on(line[1:], self._calls)
        return True

    def _pass_on(self, call: bytes, line: socket.socket) -> None:
        """Hand a line to the program, which may be slow to take it, or gone."""
        line.settimeout(max(0.01, self._deadline - time.monotonic()))
        with suppress(OSError):  # it is gone, or does not listen: its end will tell
            line.sendall(call + b"\n")
        line.setblocking(False)

    def _from_program(self, line: socket.socket) -> bool:
        try:
            chunk = line.recv(1 << 20)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._answer += chunk
        while (end := self._answer.find(b"\n")) >= 0:
            self._host.send(b"=" + bytes(self._answer[:end]))
            del self._answer[: end + 1]
        if len(self._answer) > MAX_LINE:
            self._stop("killed", f"a result of more than {MAX_LINE >> 20} MiB")
        return bool(chunk)

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def _execution(self, ended: Ended, wall: float) -> dict[str, Any]:
        report = self._report or read_report(bytes(self._told.kept))
        if self._stopped is not None:
            ending, detail = self._stopped
        else:
            ending, detail = ending_of(ended, report, self._limits, served=self._serving and self._told_to_end)
        execution: dict[str, Any] = {
            "ending": ending,
            "detail": detail,
            "stdout": self._stdout.kept.decode("utf-8", "replace"),
            "stdout_bytes": self._stdout.total,
            "stderr": self._stderr.kept.decode("utf-8", "replace"),
            "stderr_bytes": self._stderr.total,
            "cpu_seconds": ended.cpu_seconds,
            "wall_seconds": wall,
            "peak_memory_mib": ended.peak_memory_mib,
        }
        if report is not None:
            execution.update(report.fields)
        return execution
