"""The exceptions users meet.

MtpbError                  anything we raise on purpose; the command line prints its text and exits with `exit_code`
├── UsageError             what was asked for cannot be done as asked: exit 2, nothing was run
├── ProblemError           a problem file is wrong: exit 2
└── ModelError             the model could not be reached or did not answer sensibly: becomes a Fault, never a verdict
"""

from __future__ import annotations


class MtpbError(Exception):
    """An error with a message for the user: it names the place, the fact and what to do."""

    exit_code = 1


class UsageError(MtpbError):
    """What was asked for cannot be done as asked; nothing was run."""

    exit_code = 2


class ProblemError(MtpbError):
    """A problem file or a sample file is wrong. The text begins with `FILE:LINE:`."""

    exit_code = 2


class ModelError(MtpbError):
    """The model was not reached, or its answer made no sense. Our side's failure: it becomes a Fault, never a verdict.

    `retryable` is False when asking again cannot help (a wrong key, an unknown model).
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable
