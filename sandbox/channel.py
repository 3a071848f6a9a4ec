"""A channel over the standard input and output of a process of this machine."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence

from sandbox.contract import SandboxError
from sandbox.wall import ChannelClosed

SEND_SECONDS = 30
MAX_LINE = 64 << 20  # no guest of ours writes a longer one


class ProcessChannel:
    """Starts `command` in a session of its own and speaks with it. Raises SandboxError when it cannot be started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._closed = False
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise SandboxError(f"cannot start {command[0]}: {error}") from error
        assert self._process.stdin is not None  # noqa: S101 (it was asked for)
        assert self._process.stdout is not None  # noqa: S101 (likewise)
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)

    def send(self, line: bytes) -> None:
        view = memoryview(line + b"\n")
        poll = select.poll()
        poll.register(self._in, select.POLLOUT)
        try:
            while view:
                # A guest that is itself waiting for someone to read would otherwise be waited for without end.
                if not poll.poll(SEND_SECONDS * 1000):
                    raise ChannelClosed(f"it took nothing for {SEND_SECONDS} s")
                view = view[os.write(self._in, view) :]
        except OSError as error:
            raise ChannelClosed(self._why()) from error

    def receive(self, timeout_seconds: float) -> bytes:
        deadline = time.monotonic() + timeout_seconds
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_LINE:
                raise ChannelClosed(f"a line of more than {MAX_LINE >> 20} MiB")
            try:
                poll = select.poll()
                poll.register(self._out, select.POLLIN)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise TimeoutError
                chunk = os.read(self._out, 1 << 18)
            except TimeoutError:
                raise
            except OSError as error:
                raise ChannelClosed(self._why()) from error
            if not chunk:
                raise ChannelClosed(self._why())
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def kill(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._process.kill()
            self._process.wait()

    def __del__(self) -> None:
        # The descriptors outlive kill(), so that a thread still reading sees the end instead of someone else's file.
        if hasattr(self, "_process"):
            self.kill()
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _why(self) -> str:
        """What the process last wrote to its standard error."""
        try:
            size = os.fstat(self._errors.fileno()).st_size
            text = os.pread(self._errors.fileno(), 2000, max(0, size - 2000)).decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            text = ""
        return text or "it ended without a word"
