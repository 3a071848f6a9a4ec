"""What goes into the box and what comes out of it: frozen nouns, and the one verb that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol, Self


class SandboxError(Exception):
    """The box failed: our fault, never the program's. What the program did is an `Ending`."""


class SandboxUnavailable(SandboxError):
    """No box of the wanted kind can be had on this machine; the message says what to install."""


class Ending(StrEnum):
    """How a program ended. Only `FINISHED` was reported by the program's own process at its end."""

    FINISHED = "finished"
    RAISED = "raised"  # an exception, a syntax error included
    EXITED = "exited"  # SystemExit or a process exit before the end of the program
    TIMED_OUT = "timed_out"  # CPU or wall time; `Execution.detail` is "cpu" or "wall"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"  # a signal, for example a segmentation fault


@dataclass(frozen=True, slots=True)
class Tests:
    """Trusted test code for a function the program defines. It runs in a box of its own, never in the program's.

    `source` defines `check(candidate)`; `candidate` is a proxy that calls `entry_point` in the program's box.
    """

    source: str
    entry_point: str


@dataclass(frozen=True, slots=True)
class Program:
    """A whole Python program, and optionally the trusted tests that call a function of it."""

    source: str
    tests: Tests | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Over a limit, the program is ended and its `Ending` says which."""

    cpu_seconds: float = 10.0
    memory_mib: int = 1024
    output_kib: int = 256  # how much of stdout and of stderr is kept; the rest is drained, counted and dropped
    processes: int = 64
    file_mib: int = 64

    @property
    def wall_seconds(self) -> float:
        """Elapsed time allowed: twice the CPU time and two seconds, so that a busy machine is not a slow program."""
        return 2 * self.cpu_seconds + 2


@dataclass(frozen=True, slots=True)
class Printed:
    """One call of `print` to stdout. Values are tagged JSON (see `sandbox.guest.values`), never live objects."""

    argument_count: int
    arguments: list[Any]  # tagged JSON, each as it was when printed
    first_at_end: Any  # tagged JSON: the first argument as it is when the program has ended; None without arguments
    text: str  # what the call wrote, its `end` included; capped

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Tested:
    """What the trusted tests said, in their own process."""

    passed: bool
    detail: str = ""  # for example "AssertionError" or "raised ValueError: ..."; empty when passed


@dataclass(frozen=True, slots=True)
class Execution:
    """What happened to a program in the box. Facts only: whether it is right is for the grader."""

    ending: Ending
    detail: str = ""  # "ValueError: ...", "exit status 3", "signal 11", "cpu", "wall"
    stdout: str = ""
    stdout_bytes: int = 0  # written in all, so larger than the text kept when output was cut
    stderr: str = ""
    stderr_bytes: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_mib: float = 0.0
    print_count: int = 0
    last_print: Printed | None = None
    last_expression: Any = None  # tagged JSON: the value of a last bare expression; None when there is none
    printed_in_last_expression: bool = False  # print was called while that expression was evaluated
    tested: Tested | None = None  # for programs with tests whose process lived to hear the verdict
    earlier_attempts: tuple[str, ...] = ()  # why the box ran the program more than once, for example "wall"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        fields = dict(record)
        fields["ending"] = Ending(fields["ending"])
        if fields.get("last_print") is not None:
            fields["last_print"] = Printed.from_json(fields["last_print"])
        if fields.get("tested") is not None:
            fields["tested"] = Tested(**fields["tested"])
        fields["earlier_attempts"] = tuple(fields.get("earlier_attempts", ()))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """What the inside of the box is made of; recorded with every run, never mixed silently between two runs."""

    wall: str  # "docker", "bubblewrap" or "none"
    python: str  # for example "3.11.2"
    packages: Mapping[str, str]  # installed distribution -> version, of what programs may import
    image: str = ""  # image id, where there is one

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Sandbox(Protocol):
    """Runs untrusted programs, `workers` at a time. Use as an asynchronous context manager."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc_info: object) -> None: ...

    async def facts(self) -> BoxFacts:
        """What is inside, as a started worker reports it."""
        ...

    async def run(self, program: Program, limits: Limits) -> Execution:
        """Run one program to its end. Raises SandboxError when the box failed, never for what the program did."""
        ...
