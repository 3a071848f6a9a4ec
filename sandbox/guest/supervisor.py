"""Runs inside the box as long as the box lives: takes one request at a time, forks a process for it, says how that ended.

Lines from the host: {"run": {"source", "limits", "serve"?, "proxy"?}}, and while a program serves or checks, b"=" and a call or
answer, or {"end": true}. Lines to the host: {"ready": {...}} once, {"serving": true}, b"=" and a call or answer,
{"execution": {...}} and {"failed": "..."}. What follows b"=" comes from a program and is not looked at on the way.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import re
import resource
import signal
import sys
from typing import Any, NoReturn

from sandbox.guest import kernel
from sandbox.guest.calls import to_json
from sandbox.guest.limits import Baseline
from sandbox.guest.running import END, Run
from sandbox.guest.separation import Separation, choose

PRIVATE_DESCRIPTOR = 600
PRELOADED = frozenset({"numpy", "pandas", "scipy", "sklearn"})
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_COMMON = [
    "abc",
    "argparse",
    "ast",
    "asyncio",
    "base64",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "gc",
    "hashlib",
    "heapq",
    "importlib.util",
    "inspect",
    "io",
    "itertools",
    "json",
    "linecache",
    "locale",
    "math",
    "numbers",
    "operator",
    "os",
    "pathlib",
    "pickle",
    "pprint",
    "queue",
    "random",
    "re",
    "secrets",
    "shutil",
    "socket",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "sys",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "uuid",
    "warnings",
]


def main(config: dict[str, Any]) -> NoReturn:
    """Serve until the host's end of standard input closes."""
    kernel.set_dumpable(False)
    kernel.adopt_orphans()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, 4096), files))
    control_in, control_out = _private(0), _private(1)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    if os.path.isdir(config["packages"]):
        sys.path.append(config["packages"])
    for name in _COMMON:
        importlib.import_module(name)
    separation = choose(config["separation"], config["uid_base"], config["tmp_mib"])
    Supervisor(control_in, control_out, separation).serve()
    os._exit(0)


def _private(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, PRIVATE_DESCRIPTOR)


class HostGone(Exception):
    """The host has closed its end, or is no more."""


class Supervisor:
    """One guest: one program at a time."""

    def __init__(self, control_in: int, control_out: int, separation: Separation) -> None:
        self.control, self._out = control_in, control_out
        self.separation = separation
        self._buffer = bytearray()
        self._preloaded: set[str] = set()
        # A child that ends wakes the poll through this pipe.
        self.wake, wake_sink = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_sink, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_sink, warn_on_full_buffer=False)
        self._settle()

    # ---- lines -----------------------------------------------------------------------------------------------------

    def send(self, line: bytes) -> None:
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(self._out, view) :]

    def tell(self, message: dict[str, Any]) -> None:
        self.send(to_json(message))

    def receive_some(self) -> None:
        chunk = os.read(self.control, 1 << 20)
        if not chunk:
            raise HostGone
        self._buffer += chunk

    def next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    # ---- requests --------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        self.tell({"ready": {"python": sys.version.split()[0], "packages": packages(), "separation": self.separation.name}})
        try:
            while True:
                while (line := self.next_line()) is None:
                    self.receive_some()
                if line.startswith(b"=") or line == END:
                    continue  # for a program that has ended meanwhile
                request = json.loads(line)["run"]
                self._preload(request["source"])
                self.tell(Run(self, request, self._baseline).to_end())
        except HostGone:
            return

    def _preload(self, source: str) -> None:
        """Import what the program will, once, so that all programs from now on find it imported."""
        new = (PRELOADED & set(_IMPORT.findall(source))) - self._preloaded
        for name in new:
            self._preloaded.add(name)
            try:
                importlib.import_module(name)
            except ImportError:
                continue
        if new:
            self._settle()

    def _settle(self) -> None:
        gc.collect()
        gc.freeze()
        self._baseline = Baseline.measure()


def packages() -> dict[str, str]:
    """Distributions that programs can import, with their versions."""
    from importlib import metadata

    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return dict(sorted(found.items()))
