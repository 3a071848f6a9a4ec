"""The seams: what a model, a turn protocol, a set of grading rules and a benchmark must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from harness.nouns import Case, Check, Completion, Conversation, ForeignSample, Message, Problem, Request, Turn, Verdict
from sandbox import Execution, Program


@runtime_checkable
class Model(Protocol):
    """Answers one request at a time, many of them concurrently; raises ModelError when it cannot.

    Optional attributes: `protocols`, the turn protocols it can speak, preferred first (default: `("completion",)`);
    `deterministic`, True when equal requests get equal answers whatever else is in flight (default: False);
    `digest`, what its answers depend on besides its name and options, for example a hash of the weights;
    `neutral_options`, the -M options that change how fast or how patiently it answers, never what: a run may be resumed with
    other ones;
    `async def aclose(self)`; `def conversation_ended(self, conversation)`.
    """

    @property
    def name(self) -> str: ...

    async def complete(self, request: Request) -> Completion: ...


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model factory gets. A factory is `def factory(spec: ModelSpec) -> Model`, in the entry-point group `mtpb.models`.

    `name` is what follows the colon in `--model provider:name` ("" when nothing does), `options` are the `-M key=value`
    pairs, `max_connections` is how many requests can be in flight, and `problems` the problems to be run: only for adapters
    that answer from them, such as `reference`.
    """

    name: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    max_connections: int = 8
    problems: Sequence[Problem] = ()


class TurnProtocol(Protocol):
    """How a turn is put to a model, and what of its answer is kept. Pure."""

    @property
    def name(self) -> str: ...  # "completion", "chat-append"

    @property
    def version(self) -> str: ...  # part of a run's identity: changes when prompts or kept code would

    @property
    def stop(self) -> tuple[str, ...]: ...  # see Request.stop

    def prompt(self, case: Case, turns: Sequence[Turn]) -> str | tuple[Message, ...]:
        """What is sent for turn `len(turns)`, after `turns`."""
        ...

    def code(self, text: str) -> str:
        """The code kept of an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Named rules of grading: `judge` is pure, and sees facts only."""

    name: str
    version: str
    judge: Callable[[Check, Execution], Verdict]


class Benchmark(Protocol):
    """A set of problems, how they are put to a model, and how answers are judged."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...  # scores with different digests never mix

    @property
    def default_max_new_tokens(self) -> int: ...

    @property
    def default_cpu_seconds(self) -> float: ...

    def problems(self) -> Sequence[Problem]: ...

    def protocol(self, name: str) -> TurnProtocol:
        """Raises UsageError that lists the known names when there is no such protocol."""
        ...

    def compose(self, case: Case, conversation: Conversation) -> Program:
        """The whole program; with the trusted tests apart, when the case's check asserts."""
        ...

    def rules(self, name: str | None = None) -> Rules:
        """The named rules; None for the benchmark's own default. Raises UsageError that lists the known names."""
        ...

    def read_sample(self, row: Mapping[str, Any], place: str) -> ForeignSample:
        """One JSON line of a sample file made elsewhere. Raises ProblemError that begins with `place` (`FILE:LINE`)."""
        ...
