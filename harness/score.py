"""From verdicts to numbers. Pure; everything here can be recomputed from the run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from harness.metrics import Interval, clustered_interval, pass_at_k
from harness.nouns import Fault, Key, Outcome, Problem, Reason


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric in 0..1, and its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Score:
    """What a run says of a model on a task.

    `pass_at` maps k to the mean over problems of the mean over cases of pass@k. It is empty when no sample has a verdict.
    """

    problems: int
    problems_of: int  # how many the whole benchmark has
    cases: int
    samples: int  # with a verdict
    faults: int  # samples without one: never scored
    verdicts: Mapping[str, int]
    pass_at: Mapping[int, Estimate]

    @property
    def complete(self) -> bool:
        return self.faults == 0

    def to_json(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "problems_of": self.problems_of,
            "cases": self.cases,
            "samples": self.samples,
            "faults": self.faults,
            "complete": self.complete,
            "verdicts": dict(self.verdicts),
            "pass_at": {
                str(k): {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}
                for k, estimate in self.pass_at.items()
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        pass_at = {
            int(k): Estimate(entry["value"], Interval(entry["low"], entry["high"])) for k, entry in record["pass_at"].items()
        }
        fields = {name: record[name] for name in ("problems", "problems_of", "cases", "samples", "faults", "verdicts")}
        return cls(**fields, pass_at=pass_at)


def score(outcomes: Mapping[Key, Outcome], ks: Sequence[int], problems_of: int) -> Score:
    """Metrics of `outcomes`. A (problem, case) with fewer than k verdicts, because of faults, is left out of pass@k."""
    verdicts = {key: outcome for key, outcome in outcomes.items() if not isinstance(outcome, Fault)}
    cells: dict[tuple[str, str], list[bool]] = {}
    for key, verdict in verdicts.items():
        cells.setdefault((key.problem, key.case), []).append(verdict.passed)
    counted = Counter(verdict.reason for verdict in verdicts.values())
    return Score(
        problems=len({key.problem for key in outcomes}),
        problems_of=problems_of,
        cases=len({(key.problem, key.case) for key in outcomes}),
        samples=len(verdicts),
        faults=len(outcomes) - len(verdicts),
        verdicts={reason.value: counted[reason] for reason in Reason if counted[reason]},
        pass_at={k: estimate for k in ks if (estimate := _pass_at(cells, k)) is not None},
    )


def _pass_at(cells: Mapping[tuple[str, str], Sequence[bool]], k: int) -> Estimate | None:
    by_problem: dict[str, list[float]] = {}
    samples = 0
    for (problem, _case), passed in cells.items():
        if len(passed) >= k:
            samples += len(passed)
            by_problem.setdefault(problem, []).append(pass_at_k(len(passed), sum(passed), k))
    if not by_problem:
        return None
    means = [float(np.mean(values)) for values in by_problem.values()]
    return Estimate(float(np.mean(means)), clustered_interval(means, samples))


def result_record(index: int, key: Key, outcome: Outcome) -> dict[str, Any]:
    """One line of results.jsonl: no timings and no paths, so that equal runs have equal bytes."""
    match outcome:
        case Fault(where, message):
            verdict, passed, detail = Reason.FAULT, False, f"{where}: {message}"
        case _:
            verdict, passed, detail = outcome.reason, outcome.passed, outcome.detail
    return {
        "index": index,
        "task_id": key.problem,
        "case": key.case,
        "sample": key.sample,
        "verdict": verdict.value,
        "passed": passed,
        "detail": detail,
    }


def planned_keys(task: str, mode: str, protocol: str, problems: Iterable[Problem], n_samples: int) -> list[Key]:
    """All keys of a run, in key order: the benchmark's order of problems and cases, then samples."""
    return [
        Key(task, mode, protocol, problem.id, case.id, sample)
        for problem in problems
        for case in problem.cases
        for sample in range(n_samples)
    ]
