"""`mtpb execute`, `score` and `leaderboard`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from harness.cli.options import Finite, k_option, option, output_options, report_options, sandbox_options

runs_argument = click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.command()
@click.argument("samples", metavar="SAMPLES|RUN", type=click.Path(exists=True, path_type=Path))
@option("--task", default=None, help="For a file: the task whose format and rules its samples follow.")
@option(
    "--problem-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Problems that replace the task's own, in its own format (humaneval: .jsonl or .jsonl.gz).",
)
@k_option
@sandbox_options
@output_options
@report_options
def execute(samples: Path, **flags: Any) -> int:
    """Run and grade samples: a run directory made by `mtpb generate`, or a file of JSON lines made elsewhere.

    A file's results are in the order of its lines.
    """
    from harness.cli.executing import execute_file, execute_run

    if samples.is_dir():
        return asyncio.run(execute_run(samples, **flags))
    return asyncio.run(execute_file(samples, **flags))


@click.command()
@runs_argument
@k_option
@option("--json", "as_json", is_flag=True, help="Scores as JSON, and nothing else, on stdout.")
@option("--fail-under", type=Finite(0.0, 1.0), default=None, help="Exit with 4 when a pass@k (the first k) is lower.")
def score(runs: tuple[Path, ...], **flags: Any) -> int:
    """Recompute verdicts and metrics of RUNs from stored facts: no model, no sandbox."""
    from harness.cli.executing import score_runs

    return score_runs(runs, **flags)


@click.command()
@runs_argument
@option("--format", "form", type=click.Choice(["md", "csv"]), default="md")
def leaderboard(runs: tuple[Path, ...], form: str) -> int:
    """A table of RUNs, best first within each task."""
    from harness.cli.telling import say
    from harness.errors import UsageError
    from harness.leaderboard import check_comparable, read_row, to_csv, to_markdown

    rows = []
    for run in dict.fromkeys(path.resolve() for path in runs):
        try:
            rows.append(read_row(run))
        except UsageError as reason:
            say(f"left out: {reason}")
    if not rows:
        raise UsageError("none of these is a run with scores, so there is no table to make")
    check_comparable(rows)
    click.echo(to_csv(rows) if form == "csv" else to_markdown(rows), nl=False)
    return 0
