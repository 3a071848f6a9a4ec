"""`mtpb problems`: list, show, check, import and fetch problems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.nouns import Problem
    from mtpb.benchmark import MtpbBenchmark
    from mtpb.check import Finding

GATE_FAILED = 4


def _tell(line: str) -> None:
    click.echo(line, err=True)


@click.group()
def problems() -> None:
    """List, show, check, import and fetch problems."""


# ---- list and show ----


@problems.command("list")
@click.argument("task", default="mtpb")
@click.option("--category", metavar="A,B,...", help="Only these categories.")
def list_(task: str, category: str | None) -> None:
    """The problems of TASK, a task's name or a path; without it, the bundled ones."""
    from harness.tasks import Subset, open_benchmark

    categories = tuple(part.strip() for part in category.split(",")) if category else ()
    found = Subset(categories=categories).of(open_benchmark(task))
    rows = [(each.id, each.category, each.difficulty, str(_turns(each)), str(len(each.cases))) for each in found]
    for line in _table([("id", "category", "difficulty", "turns", "cases"), *rows]):
        click.echo(line)
    click.echo(
        f"{len(found)} problems, {sum(map(_turns, found))} turns, {sum(len(each.cases) for each in found)} cases", err=True
    )


def _turns(problem: Problem) -> int:
    return len(problem.cases[0].prompts)


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@problems.command()
@click.argument("problem_id", metavar="ID")
@click.option("--task", default="mtpb", show_default=True, help="The task, or path, that the problem is of.")
@click.option("--case", "case_id", default=None, help="Only this case; default: the first.")
def show(problem_id: str, task: str, case_id: str | None) -> None:
    """A problem as the model will see it, with its expected value; ID is one that `list` shows, or a problem file."""
    from harness.errors import UsageError
    from harness.nouns import Prints
    from harness.tasks import Subset, open_benchmark

    path = Path(problem_id)
    if path.suffix == ".yaml" and path.is_file():
        benchmark = open_benchmark(problem_id)
        problem = benchmark.problems()[0]
    else:
        benchmark = open_benchmark(task)
        (problem,) = Subset(problem_ids=(problem_id,)).of(benchmark)
    cases = {case.id: case for case in problem.cases}
    if case_id is not None and case_id not in cases:
        raise UsageError(f"problem {problem.id}: no case {case_id!r}; its cases are {', '.join(cases)}")
    case = cases[case_id] if case_id is not None else problem.cases[0]
    facts = (problem.title, problem.category, problem.difficulty)
    click.echo(f"{problem.id}: {', '.join(filter(None, facts))}; case {case.id} of {', '.join(cases)}")
    for number, prompt in enumerate(case.prompts, 1):
        click.echo(f"\n--- turn {number}\n{prompt}")
    click.echo(
        f"\n--- expected\n{case.check.value!r}" if isinstance(case.check, Prints) else f"\n--- tests\n{case.check.source}"
    )


# ---- check ----


@problems.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--sandbox",
    "kind",
    type=click.Choice(["auto", "docker", "bubblewrap", "none"]),
    default="auto",
    show_default=True,
    help="Where reference code runs.",
)
@click.option("--i-accept-running-untrusted-code", "consent", is_flag=True, help="For --sandbox none.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Programs at a time.")
@click.pass_context
def check(context: click.Context, paths: tuple[Path, ...], kind: str, consent: bool, workers: int) -> None:
    """Look for mistakes in problem files or folders, and run their reference code in the box; without PATH, the bundled ones.

    Exits with 4 when there is something to mend, with 2 when a file cannot be read as a problem.
    """
    import asyncio

    from mtpb.benchmark import bundled, from_paths
    from mtpb.check import lint

    benchmark = from_paths(paths) if paths else bundled()
    findings = [finding for loaded in benchmark.loaded for finding in lint(loaded)]
    if any(loaded.problem.cases[0].reference for loaded in benchmark.loaded):
        findings += asyncio.run(_references(benchmark, kind, consent, workers))
    for finding in findings:
        click.echo(finding)
    cases = sum(len(loaded.problem.cases) for loaded in benchmark.loaded)
    click.echo(f"{len(benchmark.loaded)} problems, {cases} cases: {len(findings) or 'nothing'} to mend", err=True)
    if findings:
        context.exit(GATE_FAILED)


async def _references(benchmark: MtpbBenchmark, kind: str, consent: bool, workers: int) -> list[Finding]:
    from mtpb.check import check_references
    from sandbox.choose import open_sandbox

    async with open_sandbox(kind, workers=workers, consent=consent, say=_tell) as box:
        return await check_references(benchmark, box)


@problems.command()
def schema() -> None:
    """Print the JSON Schema of problem files, for editors; the bundled problems' first line names a copy of it."""
    import json

    from mtpb.schema import ProblemFile

    click.echo(json.dumps(ProblemFile.model_json_schema(), indent=2))


# ---- the published set ----


@problems.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def import_(path: Path) -> None:
    """Convert FILE, a copy of the published mtpb.jsonl, to problem files in your data folder: the task mtpb-2022."""
    from mtpb.published import data_folder, import_file, set_folder

    _say_imported(import_file(path, set_folder(data_folder())))


@problems.command()
@click.argument("name", type=click.Choice(["mtpb-2022"]))
@click.option("--address", default=None, help="Where to get it, instead of its public address.")
def fetch(name: str, address: str | None) -> None:
    """Download the published problem set, check its sha256, and import it."""
    from mtpb.published import ADDRESS, data_folder
    from mtpb.published import fetch as fetch_set

    _say_imported(fetch_set(data_folder(), address or ADDRESS))


def _say_imported(folder: Path) -> None:
    from mtpb.published import NAME

    click.echo(f"{len(list(folder.glob('*.yaml')))} problems in {folder}")
    _tell(f"now: mtpb run {NAME} --model ...; their licence is in {folder / 'LICENSE'}")
