"""Says how far a run is: a bar on a terminal, a line every few seconds elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

from harness.nouns import Fault, Outcome

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts outcomes as they come. Use as a context manager."""

    def __init__(self, label: str, total: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.label = label
        self.total = total
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self.passed = self.failed = self.faults = self.generated = 0
        self._bar: tqdm[Any] | None = None
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        if not self.quiet and self.stream.isatty():
            self._bar = tqdm(total=self.total, desc=self.label, unit="sample", file=self.stream, dynamic_ncols=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def done(self) -> int:
        return self.passed + self.failed + self.faults + self.generated

    def count(self, outcome: Outcome) -> None:
        """One more sample has its outcome."""
        if isinstance(outcome, Fault):
            self.faults += 1
        elif outcome.passed:
            self.passed += 1
        else:
            self.failed += 1
        self._tell()

    def step(self) -> None:
        """One more sample was generated; its outcome comes later."""
        self.generated += 1
        self._tell()

    def _tell(self) -> None:
        if self.generated:
            counts = f"{self.generated} generated, {self.faults} faults"
        else:
            counts = f"{self.passed} passed, {self.failed} failed, {self.faults} faults"
        if self._bar is not None:
            self._bar.set_postfix_str(counts, refresh=False)
            self._bar.update(1)
        elif not self.quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            print(f"{self.label}: {self.done} of {self.total} samples: {counts}", file=self.stream, flush=True)
