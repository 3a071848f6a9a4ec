"""Flags that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class CommaList(click.ParamType[tuple[str, ...]]):
    """`a,b,c`; converts each part, refuses empty ones."""

    name = "a,b,..."

    def __init__(self, part: Callable[[str], Any] = str) -> None:
        self.part = part

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(parts):
            self.fail(f"{value!r} has an empty part", param, ctx)
        try:
            return tuple(self.part(part) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers", param, ctx)


class Finite(click.FloatRange):
    """A range of numbers that are numbers: neither nan nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


option = partial(click.option, show_default=True)


def together(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of help."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


tasks_argument = click.argument("tasks", nargs=-1, required=True, metavar="TASK...")

model_options = together(
    option("--model", required=True, metavar="SPEC", help="PROVIDER:NAME, NAME, or ./file.py:Class; see `mtpb models list`."),
    option(
        "-M",
        "--model-option",
        "model_settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the adapter; repeatable.",
    ),
    option("--base-url", default=None, help="Where an OpenAI-compatible server answers."),
    option("--max-connections", type=click.IntRange(1), default=8, help="Model calls in flight."),
)

subset_options = together(
    option("--limit", type=click.IntRange(1), default=None, help="Only the first N problems."),
    option("--limit-cases", type=click.IntRange(1), default=None, help="Only the first N cases of each problem."),
    option("--problem-ids", type=CommaList(), default=(), help="Only these problems."),
    option("--category", "categories", type=CommaList(), default=(), help="Only these categories."),
    option(
        "--problem-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=None,
        help="Problems that replace the task's own, in its own format (humaneval: .jsonl or .jsonl.gz).",
    ),
)

sampling_options = together(
    option("--n-samples", type=click.IntRange(1), default=1, help="Samples per case."),
    option("--temperature", type=Finite(0.0, 100.0), default=0.2),
    option("--top-p", type=Finite(0.0, 1.0, min_open=True), default=0.95),
    option("--max-tokens", type=click.IntRange(1), default=None, help="New tokens per turn, where the problem names none."),
    option("--seed", type=int, default=0),
    option("--greedy", is_flag=True, help="Temperature 0; one sample per case."),
    option("--protocol", default=None, help="completion or chat-append; default: what the adapter prefers."),
)

k_option = option("--k", "ks", type=CommaList(int), default="1", help="The k of pass@k.")

sandbox_options = together(
    option(
        "--sandbox",
        "sandbox_kind",
        type=click.Choice(["auto", "docker", "bubblewrap", "none"]),
        default="auto",
        help="auto: Docker if it is usable, else bubblewrap.",
    ),
    option("--i-accept-running-untrusted-code", "consent", is_flag=True, help="For --sandbox none."),
    option("--workers", type=click.IntRange(1), default=None, help="Programs in the box at a time; default: one a core."),
    option("--time-limit", type=Finite(0.0, 86_400.0, min_open=True), default=None, help="CPU seconds a program; default 10."),
    option("--memory-limit", type=click.IntRange(16, 1 << 20), default=None, help="MiB a program; default 1024."),
    option("--output-limit", type=click.IntRange(1), default=256, help="KiB kept of a program's stdout, and of its stderr."),
)

output_options = together(
    option(
        "-o",
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="The run directory; with several runs, their parent.",
    ),
    option("--fresh", is_flag=True, help="Begin anew; an earlier run is set aside, not deleted."),
)

report_options = together(
    option("--json", "as_json", is_flag=True, help="Scores as JSON, and nothing else, on stdout."),
    option("--quiet", is_flag=True, help="No progress."),
    option("--fail-under", type=Finite(0.0, 1.0), default=None, help="Exit with 4 when a pass@k (the first k) is lower."),
)
