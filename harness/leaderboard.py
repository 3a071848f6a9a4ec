"""Tables of runs, for people and for spreadsheets. Pure, but for reading the runs' derived files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.score import Score

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Row:
    """One run in a table."""

    task: str
    model: str
    protocol: str
    rules: str
    benchmark_digest: str
    score: Score
    path: Path


def read_row(path: Path) -> Row:
    """The row of one run directory. Raises UsageError when it has no scores yet."""
    try:
        run = json.loads((path / "run.json").read_text(encoding="utf-8"))
        scores = json.loads((path / "scores.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        remedy = f"`mtpb score {path}` makes it" if missing == "scores.json" else "name a run directory"
        raise UsageError(f"{path}: no {missing} here; {remedy}") from None
    except ValueError as error:
        raise UsageError(
            f"{path}: run.json or scores.json is not JSON ({error}); `mtpb score` makes scores.json anew"
        ) from None
    try:
        settings = run["settings"]
        return Row(
            task=settings["task"],
            model=settings["model"]["name"],
            protocol=settings["protocol"],
            rules=scores["rules"],
            benchmark_digest=settings["benchmark_digest"],
            score=Score.from_json(scores["score"]),
            path=path,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: run.json or scores.json lacks {error}; `mtpb score` makes scores.json anew") from None


def check_comparable(rows: Sequence[Row]) -> None:
    """Raises UsageError when two runs of one task were made on different problems: such numbers must not share a table."""
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.task, row)
        if other.benchmark_digest != row.benchmark_digest:
            raise UsageError(
                f"{row.path}: its problems of task {row.task} (digest {row.benchmark_digest[:12]}) are not those of "
                f"{other.path} (digest {other.benchmark_digest[:12]}): make one table for each"
            )
        if other.rules != row.rules:
            raise UsageError(
                f"{row.path}: graded by {row.rules}, but {other.path} by {other.rules}; "
                "`mtpb score` grades both anew, by the same rules"
            )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per run, best first within a task; shares are 0..1."""
    import pandas as pd

    ks = sorted({k for row in rows for k in row.score.pass_at})
    records = []
    for row in rows:
        score = row.score
        record: dict[str, object] = {
            "task": row.task,
            "model": row.model,
            "protocol": row.protocol,
            "rules": row.rules,
            "problems": score.problems,
            "problems_of": score.problems_of,
            "cases": score.cases,
            "samples": score.samples,
            "faults": score.faults,
        }
        for k in ks:
            estimate = score.pass_at.get(k)
            record[f"pass@{k}"] = None if estimate is None else estimate.value
            record[f"pass@{k}_low"] = None if estimate is None else estimate.interval.low
            record[f"pass@{k}_high"] = None if estimate is None else estimate.interval.high
        records.append(record)
    frame = pd.DataFrame.from_records(records)
    if not ks:
        return frame.sort_values(["task", "model"], kind="stable")
    return frame.sort_values(["task", f"pass@{ks[0]}", "model"], ascending=[True, False, True], kind="stable")


def to_csv(rows: Sequence[Row]) -> str:
    """Comma-separated values with a header line."""
    return to_frame(rows).to_csv(index=False, lineterminator="\n")


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table that also reads well on a terminal, and a line that says what its numbers mean."""
    ks = sorted({k for row in rows for k in row.score.pass_at})
    header = ["task", "model", "problems", "cases", "samples"]
    for k in ks:
        header += [f"pass@{k}", "95% interval"]
    faulty = any(row.score.faults for row in rows)
    if faulty:
        header.append("faults")
    body: list[list[str]] = []
    for record in to_frame(rows).to_dict("records"):
        part = "" if record["problems"] == record["problems_of"] else f" of {record['problems_of']}"
        line = [
            str(record["task"]),
            str(record["model"]),
            f"{record['problems']}{part}",
            str(record["cases"]),
            str(record["samples"]),
        ]
        for k in ks:
            value, low, high = (record[f"pass@{k}{end}"] for end in ("", "_low", "_high"))
            known = isinstance(value, float) and not math.isnan(value)  # a missing number is nan in the frame
            line += [_percent(value), f"{_percent(low)} – {_percent(high)}"] if known else ["–", "–"]
        if faulty:
            line.append(f"{record['faults']} (incomplete)" if record["faults"] else "0")
        body.append([cell.replace("|", "\\|") for cell in line])
    widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
    numeric_from = 2
    ruler = ["-" * width if column < numeric_from else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [header, ruler, *body]
    text = "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if column < numeric_from else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )
    if not ks:
        return text + "\n"
    return (
        text + "\n\npass@k: mean over problems of the mean over cases (Chen et al. 2021); "
        "interval: over problems (Korn and Graubard 1998).\n"
    )
