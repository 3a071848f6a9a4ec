"""`mtpb demo`, `run` and `generate`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    k_option,
    model_options,
    option,
    output_options,
    report_options,
    sampling_options,
    sandbox_options,
    subset_options,
    tasks_argument,
)


@click.command()
@tasks_argument
@model_options
@subset_options
@sampling_options
@k_option
@sandbox_options
@output_options
@report_options
@option("--dry-run", is_flag=True, help="Say how much there is to do, and do nothing.")
def run(tasks: tuple[str, ...], **flags: Any) -> int:
    """Let a model answer TASKs turn by turn, run its programs in the box, and score them.

    A TASK is mtpb (bundled), mtpb-2022, humaneval, or a path to YAML problems.
    The same command continues a run that was stopped.
    """
    from harness.cli.running import RunFlags, run_tasks

    return asyncio.run(run_tasks(tasks, RunFlags(execute=True, **flags)))


@click.command()
@tasks_argument
@model_options
@subset_options
@sampling_options
@output_options
@option("--json", "as_json", is_flag=True, help="Print the run directories as JSON, and nothing else, on stdout.")
@option("--quiet", is_flag=True, help="No progress.")
@option("--dry-run", is_flag=True, help="Say how much there is to do, and do nothing.")
def generate(tasks: tuple[str, ...], **flags: Any) -> int:
    """Let a model answer TASKs turn by turn, and store the answers; `mtpb execute RUN` runs them later."""
    from harness.cli.running import RunFlags, run_tasks

    return asyncio.run(run_tasks(tasks, RunFlags(execute=False, **flags)))


@click.command()
@option("--model", default="smollm2", metavar="SPEC", help="Another model than SmolLM2-135M-Instruct.")
@sandbox_options
@option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("runs/demo"), help="The run directory."
)
@option("--quiet", is_flag=True, help="No progress.")
def demo(model: str, output: Path, **flags: Any) -> int:
    """A real small language model answers a few bundled problems, two cases each, and its programs run in the box.

    The first use downloads the model's weights (98 MB).
    """
    from harness.cli.running import RunFlags, demo_problem_ids, run_tasks

    shown = RunFlags(
        execute=True, model=model, problem_ids=demo_problem_ids(), limit_cases=2, output=output, fresh=True, **flags
    )
    return asyncio.run(run_tasks(("mtpb",), shown))
