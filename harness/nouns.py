"""The nouns of the road, in the order they appear on it. All frozen; no later noun is a field of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

# ---- what is asked -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prints:
    """The program is right when its output is `value` (a plain Python value; see the benchmark's rules for "is").

    `rtol` and `atol` bound the difference of floats; None means the rules' own.
    """

    value: Any
    rtol: float | None = None
    atol: float | None = None


@dataclass(frozen=True, slots=True)
class Asserts:
    """The program is right when the trusted `source`, which defines `check(candidate)`, finishes without raising."""

    source: str
    entry_point: str


Check = Prints | Asserts


@dataclass(frozen=True, slots=True)
class Case:
    """One specification with its inputs filled in, and what the finished program must do."""

    id: str
    prompts: tuple[str, ...]  # one per turn
    check: Check
    reference: tuple[str, ...] | None = None  # code, one per turn; None when the problem has none


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: the same turns for every case."""

    id: str
    cases: tuple[Case, ...]
    digest: str  # sha256 over everything that can move a score
    title: str = ""
    category: str = ""
    difficulty: str = ""
    max_new_tokens: tuple[int, ...] = ()  # per turn; empty: the run's own default
    cpu_seconds: float | None = None  # None: the run's own default
    memory_mib: int | None = None


# ---- what the model is asked and answers ---------------------------------------------------------------------------


class Message(NamedTuple):
    """One message of a chat; `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy."""

    temperature: float = 0.2
    top_p: float = 0.95


@dataclass(frozen=True, slots=True)
class Request:
    """One turn put to a model. It never carries reference code or an expected value.

    `prompt` is a text to continue, or the messages of a chat. Text after the end of a `stop` string is not needed: an adapter
    may stop there, and must then return the stop string too; it may also ignore `stop`.
    `seed` is derived from (run seed, problem, case, sample, turn), 31 bits.
    """

    prompt: str | tuple[Message, ...]
    max_new_tokens: int
    sampling: Sampling
    seed: int
    stop: tuple[str, ...] = ()
    problem: str = ""
    case: str = ""
    sample: int = 0
    turn: int = 0  # from 0

    @property
    def conversation(self) -> tuple[str, str, int]:
        """Names the conversation this turn belongs to, for adapters that keep state between its turns."""
        return (self.problem, self.case, self.sample)


class FinishReason(StrEnum):
    """Why the model stopped."""

    STOP = "stop"  # end of text, or a stop string
    LENGTH = "length"  # the token budget
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer. `reasoning` is kept apart from `text` and is never run. Token counts are None when unknown."""

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished turn: what was asked (without the history), what came back, and the code kept of it."""

    prompt: str
    raw: str
    code: str
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning: str = ""


class Key(NamedTuple):
    """Names one sample of a run. `variant` tells diagnosis runs from the sample itself ("")."""

    task: str
    mode: str  # "multi"
    protocol: str
    problem: str
    case: str
    sample: int
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """All turns of one sample."""

    key: Key
    turns: tuple[Turn, ...]


# ---- what is thought of it -----------------------------------------------------------------------------------------


class Reason(StrEnum):
    """The closed set of verdicts. Only PASS is right; FAULT is not a verdict on the model."""

    PASS = "pass"  # noqa: S105 (a verdict, no password)
    WRONG = "wrong"
    ERROR = "error"
    NO_OUTPUT = "no_output"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    CRASH = "crash"
    NO_CODE = "no_code"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules make of an execution."""

    reason: Reason
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.reason is Reason.PASS


@dataclass(frozen=True, slots=True)
class Fault:
    """Our side failed; the sample is not scored, and is tried again when the run is resumed."""

    where: str  # "model" or "sandbox"
    message: str


Outcome = Verdict | Fault


# ---- samples made elsewhere ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForeignSample:
    """A finished program from a file, ready to run: `source` is whole, whatever the format it came in."""

    task_id: str
    source: str
    check: Check
    cpu_seconds: float | None = None
    memory_mib: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Problems = Sequence[Problem]
