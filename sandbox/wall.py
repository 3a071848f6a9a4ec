"""The seam between the box's workers and what walls them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel(Protocol):
    """A line each way to the guest behind a wall. Blocking; used by one thread at a time, `kill` by any."""

    def send(self, line: bytes) -> None:
        """Write `line`, which has no newline in it, and a newline. Raises ChannelClosed."""
        ...

    def receive(self, timeout_seconds: float) -> bytes:
        """The next whole line, without its newline. Raises TimeoutError, or ChannelClosed at the end."""
        ...

    def kill(self) -> None:
        """End everything behind the wall, at once; never raises; may be called twice."""
        ...


class Wall(Protocol):
    """Starts guests. A guest is `python3 -I -c ...` with only its standard input and output to speak through."""

    @property
    def name(self) -> str: ...  # "docker", "bubblewrap", "none"

    @property
    def image(self) -> str: ...  # image id, "" where there is none

    def start(self, python_arguments: Sequence[str], memory_mib: int) -> Channel:
        """Start one guest; `memory_mib` bounds all that is behind this wall, where the wall can. Raises SandboxError."""
        ...

    def close(self) -> None:
        """Let go of what the wall itself holds."""
        ...
