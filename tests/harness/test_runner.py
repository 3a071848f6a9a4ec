"""A plan carried out, interrupted, damaged and carried out again."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import ScriptedSandbox, TinyBenchmark, arithmetic
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.derive import outcomes
from harness.errors import ModelError, MtpbError
from harness.models.scripted import ScriptedModel
from harness.nouns import Completion, Fault, Key, Outcome, Reason, Request, Sampling
from harness.plan import LimitSettings, Plan
from harness.progress import Progress
from harness.runner import GIVE_UP_AFTER, Run, carry_out
from harness.store import RunDirectory, TornLine
from harness.tasks import Subset
from sandbox import Ending, Execution, Program, SandboxError

Answer = Callable[[Request], str | Completion | Exception]


def right(request: Request) -> str:
    """The reference code of the turn, and a second line that the protocol cuts off."""
    for problem in TinyBenchmark().problems():
        for case in problem.cases:
            if (problem.id, case.id) == (request.problem, request.case):
                assert case.reference is not None
                return case.reference[request.turn] + "\nmore"
    raise AssertionError(request)


def tiny_plan(n_samples: int = 2) -> Plan:
    benchmark = TinyBenchmark()
    return Plan(
        task="tiny",
        benchmark=benchmark,
        problems=tuple(benchmark.problems()),
        subset=Subset(),
        protocol=benchmark.protocol("completion"),
        rules=benchmark.rules(),
        sampling=Sampling(),
        n_samples=n_samples,
        seed=7,
        max_new_tokens=16,
        limits=LimitSettings(),
    )


def run_in(
    path: Path,
    answer: Answer = right,
    sandbox: ScriptedSandbox | None = None,
    plan: Plan | None = None,
    *,
    connections: int = 3,
) -> dict[Key, Outcome]:
    plan = plan or tiny_plan()
    said: list[str] = []
    with RunDirectory(path) as store:
        run = Run(store, plan.rules, Progress("tiny", 8, quiet=True), said.append)
        model = ScriptedModel(answer)
        box = sandbox or ScriptedSandbox()
        asyncio.run(carry_out(plan, run, model=model, sandbox=box, connections=connections, workers=2))
        return outcomes(plan.checks(), plan.rules, store, run.faults)


def keys_in(path: Path) -> list[Key]:
    return [Key(**json.loads(line)["key"]) for line in path.read_text().splitlines()]


def test_right_answers_pass_in_the_benchmarks_order(tmp_path: Path) -> None:
    graded = run_in(tmp_path)
    assert [(key.problem, key.case, key.sample) for key in graded] == [
        (problem, case, sample) for problem in ("b/second", "a/first") for case in ("one", "two") for sample in (0, 1)
    ]
    assert all(not isinstance(outcome, Fault) and outcome.passed for outcome in graded.values())


def test_the_history_holds_what_was_kept_and_not_what_was_cut(tmp_path: Path) -> None:
    prompts: list[str] = []

    def remember(request: Request) -> str:
        assert isinstance(request.prompt, str)
        prompts.append(request.prompt)
        return right(request)

    run_in(tmp_path, remember)
    assert "# Let x be 10.\nx = 10\n# Print x.\n" in prompts
    assert not any("more" in prompt for prompt in prompts)


def test_seeds_do_not_depend_on_order_or_concurrency(tmp_path: Path) -> None:
    def seeds(path: Path, connections: int) -> dict[tuple[str, str, int, int], int]:
        seen: dict[tuple[str, str, int, int], int] = {}

        def remember(request: Request) -> str:
            seen[(*request.conversation, request.turn)] = request.seed
            return right(request)

        run_in(path, remember, connections=connections)
        return seen

    one, many = seeds(tmp_path / "one", 1), seeds(tmp_path / "many", 8)
    assert one == many
    assert len(set(one.values())) == len(one) == 16


def test_a_model_failure_is_a_fault_and_is_asked_again_on_resume(tmp_path: Path) -> None:
    def fails_once(request: Request) -> str | Exception:
        return ModelError("busy") if request.case == "two" else right(request)

    first = run_in(tmp_path, fails_once)
    assert [outcome.message for outcome in first.values() if isinstance(outcome, Fault)] == ["busy"] * 4
    second = run_in(tmp_path)
    assert all(not isinstance(outcome, Fault) and outcome.passed for outcome in second.values())
    assert len(keys_in(tmp_path / "samples.jsonl")) == len(set(keys_in(tmp_path / "samples.jsonl"))) == 8


def test_a_defect_of_an_adapter_is_a_fault_and_never_a_wrong_answer(tmp_path: Path) -> None:
    graded = run_in(tmp_path, lambda request: KeyError("choices"))
    assert all(isinstance(outcome, Fault) for outcome in graded.values())


def test_a_box_failure_is_a_fault_and_the_answers_are_kept(tmp_path: Path) -> None:
    graded = run_in(tmp_path, sandbox=ScriptedSandbox(lambda program: SandboxError("the daemon is gone")))
    assert {outcome.where for outcome in graded.values() if isinstance(outcome, Fault)} == {"sandbox"}
    asked: list[Request] = []

    def remember(request: Request) -> str:
        asked.append(request)
        return right(request)

    again = run_in(tmp_path, remember)
    assert not asked
    assert all(not isinstance(outcome, Fault) and outcome.passed for outcome in again.values())


def test_a_model_that_is_gone_ends_the_run_early(tmp_path: Path) -> None:
    asked: list[Request] = []

    def gone(request: Request) -> Exception:
        asked.append(request)
        return ModelError("connection refused")

    graded = run_in(tmp_path, gone, plan=tiny_plan(n_samples=50), connections=2)
    assert len(asked) <= GIVE_UP_AFTER + 1
    assert len(graded) == 200
    assert all(isinstance(outcome, Fault) for outcome in graded.values())


def test_no_code_at_all_is_said_so(tmp_path: Path) -> None:
    graded = run_in(tmp_path, lambda request: "")
    assert {outcome.reason for outcome in graded.values() if not isinstance(outcome, Fault)} == {Reason.NO_CODE}


def test_no_two_runs_write_into_one_directory(tmp_path: Path) -> None:
    with RunDirectory(tmp_path), pytest.raises(MtpbError, match="another process"), RunDirectory(tmp_path):
        pass


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_kill_anywhere_and_the_same_command_equal_no_kill(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    # A kill leaves some first part of each file; executions can only be there for samples that are.
    whole = tmp_path_factory.mktemp("whole")
    undisturbed = run_in(whole)
    samples = (whole / "samples.jsonl").read_bytes()
    cut = data.draw(st.integers(0, len(samples)))
    kept = samples[:cut]
    complete = {Key(**json.loads(line)["key"]) for line in kept.split(b"\n")[:-1]}
    executions = [
        line
        for line in (whole / "executions.jsonl").read_bytes().splitlines(keepends=True)
        if Key(**json.loads(line)["key"]) in complete
    ]
    random.Random(cut).shuffle(executions)  # noqa: S311 (the order in which programs happened to end)
    joined = b"".join(executions)
    killed = tmp_path_factory.mktemp("killed")
    (killed / "samples.jsonl").write_bytes(kept)
    (killed / "executions.jsonl").write_bytes(joined[: data.draw(st.integers(0, len(joined)))])
    assert run_in(killed) == undisturbed
    for name in ("samples.jsonl", "executions.jsonl"):
        keys = keys_in(killed / name)
        assert len(keys) == len(set(keys)) == 8


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path: Path) -> None:
    run_in(tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    store = RunDirectory(tmp_path)
    with pytest.warns(TornLine, match=r"samples\.jsonl:8"):
        assert len(list(store.samples())) == 7


@pytest.mark.parametrize("damage", ["not json\n", "[1]\n"])
def test_damage_before_the_last_line_is_refused_by_file_and_line(tmp_path: Path, damage: str) -> None:
    run_in(tmp_path)
    path = tmp_path / "executions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = damage
    path.write_text("".join(lines))
    with pytest.raises(MtpbError, match=r"executions\.jsonl:3: not a JSON object"):
        list(RunDirectory(tmp_path).executions())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("samples.jsonl", {"key": {}}),
        ("executions.jsonl", {"execution": {"ending": "vanished"}}),
        ("samples.jsonl", {"turns": [1]}),
    ],
)
def test_a_line_that_no_run_writes_is_refused_in_words(tmp_path: Path, name: str, damage: dict[str, object]) -> None:
    run_in(tmp_path)
    lines = (tmp_path / name).read_text().splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **damage})
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(MtpbError, match=name.replace(".", r"\.") + ".*damaged"):
        run_in(tmp_path)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(MtpbError, match=r"samples\.jsonl:9: .*twice"):
        list(RunDirectory(tmp_path).samples())


def test_only_executions_are_graded_and_facts_stay_as_they_were(tmp_path: Path) -> None:
    def raises_for_ones(program: Program) -> Execution:
        execution = arithmetic(program)
        return Execution(Ending.RAISED, "ValueError: no") if execution.stdout == "1\n" else execution

    run_in(tmp_path, sandbox=ScriptedSandbox(raises_for_ones))
    before = {name: (tmp_path / name).read_bytes() for name in ("samples.jsonl", "executions.jsonl")}
    graded = run_in(tmp_path)
    assert [outcome.reason for outcome in graded.values() if not isinstance(outcome, Fault)].count(Reason.ERROR) == 2
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


@pytest.mark.parametrize("text", ["x = '\ud800'", "x = '\x00\u2028'"])
def test_whatever_text_a_model_writes_is_stored_and_read_back(tmp_path: Path, text: str) -> None:
    run_in(tmp_path, lambda request: text)
    turns = [record["turns"][0]["raw"] for _, record in RunDirectory(tmp_path).samples()]
    assert turns == [text] * 8
