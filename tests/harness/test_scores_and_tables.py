"""From outcomes to numbers to tables."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.leaderboard import Row, check_comparable, read_row, to_csv, to_markdown
from harness.nouns import Fault, Key, Outcome, Reason, Verdict
from harness.score import Score, result_record, score

PASS, WRONG, FAULT = Verdict(Reason.PASS), Verdict(Reason.WRONG, "expected 1"), Fault("model", "busy")


def cell(problem: str, case: str, *outcomes: Outcome) -> dict[Key, Outcome]:
    return {Key("t", "multi", "completion", problem, case, sample): outcome for sample, outcome in enumerate(outcomes)}


def row(task: str = "t", model: str = "m", digest: str = "d1", rules: str = "strict/1", made: Score | None = None) -> Row:
    made = made or score(cell("p", "c", PASS) | cell("q", "c", WRONG), (1,), 5)
    return Row(task, model, "completion/1", rules, digest, made, Path(f"runs/{model}"))


def test_problems_weigh_the_same_however_many_cases_they_have() -> None:
    outcomes = cell("p", "a", PASS) | cell("p", "b", PASS) | cell("p", "c", PASS) | cell("q", "a", WRONG)
    assert score(outcomes, (1,), 2).pass_at[1].value == 0.5


def test_pass_at_k_is_taken_per_case_before_it_is_averaged() -> None:
    outcomes = cell("p", "a", PASS, WRONG) | cell("q", "a", WRONG, WRONG)
    made = score(outcomes, (1, 2), 2)
    assert made.pass_at[1].value == pytest.approx(0.25)
    assert made.pass_at[2].value == pytest.approx(0.5)


def test_a_fault_is_no_wrong_answer() -> None:
    made = score(cell("p", "a", PASS, FAULT) | cell("q", "a", FAULT, FAULT), (1,), 2)
    assert made.pass_at[1].value == 1.0
    assert (made.samples, made.faults, made.complete) == (1, 3, False)


def test_without_a_verdict_there_is_no_number() -> None:
    made = score(cell("p", "a", FAULT), (1,), 1)
    assert made.pass_at == {}
    assert "–" not in to_csv([row(made=made)])


def test_a_score_survives_its_file() -> None:
    made = score(cell("p", "a", PASS, WRONG) | cell("q", "a", WRONG, FAULT), (1, 2), 7)
    assert Score.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_result_line_has_no_timings_and_no_paths() -> None:
    key = Key("t", "multi", "completion", "p", "a", 3)
    assert result_record(9, key, WRONG) == {
        "index": 9,
        "task_id": "p",
        "case": "a",
        "sample": 3,
        "verdict": "wrong",
        "passed": False,
        "detail": "expected 1",
    }
    assert result_record(0, key, FAULT)["verdict"] == "fault"


def test_the_table_says_how_much_of_the_benchmark_was_run() -> None:
    table = to_markdown([row()])
    assert " 2 of 5 |" in table
    assert "50.0%" in table
    assert "faults" not in table


def test_every_line_of_the_table_is_equally_wide() -> None:
    faulty = score(cell("p", "a", PASS, FAULT), (1,), 1)
    lines = to_markdown([row(model="a|b"), row(model="much-longer-name", made=faulty)]).split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "(incomplete)" in lines[2] + lines[3]


def test_the_best_model_is_first_within_its_task() -> None:
    good = score(cell("p", "a", PASS), (1,), 1)
    bad = score(cell("p", "a", WRONG), (1,), 1)
    table = to_markdown([row(model="bad", made=bad), row(model="good", made=good), row(task="s", model="other", made=bad)])
    assert table.index("other") < table.index("good") < table.index("bad")


def test_the_csv_reads_back_as_numbers() -> None:
    frame = pd.read_csv(io.StringIO(to_csv([row()])))
    assert frame["pass@1"].tolist() == [0.5]
    assert frame["pass@1_low"][0] < 0.5 < frame["pass@1_high"][0]


def test_different_problems_do_not_share_a_table() -> None:
    with pytest.raises(UsageError, match="digest"):
        check_comparable([row(model="a"), row(model="b", digest="d2")])
    check_comparable([row(task="s", digest="d2"), row(task="t")])


def test_different_rules_do_not_share_a_table() -> None:
    with pytest.raises(UsageError, match="graded by"):
        check_comparable([row(model="a"), row(model="b", rules="published/1")])


def test_a_directory_without_scores_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run\.json here"):
        read_row(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="`mtpb score"):
        read_row(tmp_path)
