"""The command line as users meet it, with the real box (bubblewrap) and the reference answers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai_fake import FakeOpenAI, Reply, chat, failure

from harness.cli import COMMANDS, main

pytestmark = pytest.mark.bubblewrap
BOX = ("--sandbox", "bubblewrap", "--quiet")


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Mtpb = Callable[..., Said]


@pytest.fixture
def mtpb(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mtpb:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


def results(run: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(run) / "results.jsonl").read_text().splitlines()]


def reference_run(mtpb: Mtpb, *more: str) -> Said:
    return mtpb("run", "mtpb", "--model", "reference", "--limit", "3", "--limit-cases", "2", *BOX, "-o", "run", *more)


def test_reference_answers_pass_and_the_table_says_so(mtpb: Mtpb) -> None:
    said = reference_run(mtpb)
    assert said.code == 0, said.err
    assert [line["verdict"] for line in results("run")] == ["pass"] * 6
    assert "| mtpb " in said.out
    assert "100.0%" in said.out
    assert "3 of " in said.out
    assert "sandbox: bubblewrap" in said.err
    box = json.loads(Path("run/run.json").read_text())["box"]
    assert box["wall"] == "bubblewrap"
    assert "numpy" in box["packages"]


def test_the_same_command_again_runs_nothing_and_changes_nothing(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    again = reference_run(mtpb)
    assert again.code == 0
    assert "6 already done" in again.err
    assert before == {path.name: path.read_bytes() for path in Path("run").iterdir()}


def test_other_settings_do_not_mix_into_a_run(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    said = reference_run(mtpb, "--temperature", "0.8")
    assert said.code == 2
    assert "sampling.temperature: was 0.2, now 0.8" in said.err
    assert "--fresh" in said.err


def test_speed_knobs_are_no_other_settings(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    assert reference_run(mtpb, "--max-connections", "3", "--workers", "1").code == 0


def test_fresh_sets_the_earlier_run_aside(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    assert reference_run(mtpb, "--temperature", "0.8", "--fresh").code == 0
    assert len(results("run")) == len(results("run.1")) == 6


def test_json_is_the_only_thing_on_stdout(mtpb: Mtpb) -> None:
    (made,) = json.loads(reference_run(mtpb, "--json").out)["runs"]
    assert made["pass_at"]["1"]["value"] == 1.0
    assert made["complete"] is True


def test_generate_then_execute_equals_run(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    flags = ("--model", "reference", "--limit", "3", "--limit-cases", "2", "--quiet")
    said = mtpb("generate", "mtpb", *flags, "-o", "apart")
    assert (said.code, said.out) == (0, "apart\n")
    assert not Path("apart/results.jsonl").exists()
    assert mtpb("execute", "apart", *BOX).code == 0
    assert Path("apart/results.jsonl").read_bytes() == Path("run/results.jsonl").read_bytes()


def test_score_makes_the_derived_files_again(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    before = {name: Path("run", name).read_bytes() for name in ("results.jsonl", "scores.json")}
    for name in before:
        Path("run", name).unlink()
    assert mtpb("score", "run").code == 0
    assert before == {name: Path("run", name).read_bytes() for name in before}


def test_a_gate_fails_with_its_own_exit_code(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    executions = Path("run/executions.jsonl")
    lines = [json.loads(line) for line in executions.read_text().splitlines()]
    for line in lines[:3]:
        line["execution"]["ending"] = "raised"
    executions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert mtpb("score", "run", "--fail-under", "0.9").code == 4
    assert mtpb("score", "run", "--fail-under", "0.1").code == 0


def test_a_leaderboard_of_two_runs(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    mtpb("run", "mtpb", "--model", "replay", "-M", "run=run", "--limit", "3", "--limit-cases", "2", *BOX, "-o", "other")
    said = mtpb("leaderboard", "run", "other")
    assert said.code == 0, said.err
    assert "| reference" in said.out
    assert "| replay" in said.out
    csv = mtpb("leaderboard", "run", "other", "--format", "csv").out.splitlines()
    assert len(csv) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "nothing", "--model", "reference"), "unknown task 'nothing'"),
        (("run", "mtpb", "--model", "nothing"), "reference"),
        (("run", "mtpb", "--model", "reference", "--k", "10"), "pass@10 needs --n-samples 10"),
        (("run", "mtpb", "--model", "reference", "--k", "x"), "whole numbers"),
        (("run", "mtpb", "--model", "reference", "--problem-ids", "array/nothing"), "no problem named array/nothing"),
        (("run", "mtpb", "--model", "reference", "--category", "sorting"), "no problems of category sorting"),
        (("run", "mtpb", "--model", "reference", "--protocol", "telepathy"), "--protocol telepathy"),
        (("run", "mtpb", "--model", "reference", "--sandbox", "none"), "--i-accept-running-untrusted-code"),
        (("run", "mtpb", "--model", "reference", "--time-limit", "nan"), "not a finite number"),
        (("run", "mtpb", "--model", "reference", "--temperature", "inf"), "inf"),
        (("run", "mtpb", "--model", "reference", "--greedy", "--k", "4", "--n-samples", "4"), "--greedy makes one sample"),
        (("run", "mtpb"), "--model"),
        (("score", "."), "no run.json here"),
        (("leaderboard", "."), "no run.json here"),
        (("nonsense",), "nonsense"),
    ],
)
def test_what_cannot_be_done_is_refused_with_2_and_leaves_no_results(
    mtpb: Mtpb, arguments: tuple[str, ...], words: str
) -> None:
    said = mtpb(*arguments)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_a_directory_of_other_files_is_never_taken_for_a_run(mtpb: Mtpb, fresh: tuple[str, ...]) -> None:
    Path("run").mkdir()
    Path("run/thesis.txt").write_text("precious")
    said = reference_run(mtpb, *fresh)
    assert said.code == 2
    assert "no run directory" in said.err
    assert [path.name for path in Path().rglob("*")] == ["run", "thesis.txt"]


def test_the_current_folder_is_not_set_aside(mtpb: Mtpb, monkeypatch: pytest.MonkeyPatch) -> None:
    reference_run(mtpb)
    monkeypatch.chdir("run")
    said = mtpb("run", "mtpb", "--model", "reference", "-o", ".", "--fresh", *BOX)
    assert said.code == 2
    assert "the current folder" in said.err


def test_a_place_that_cannot_be_written_is_said_so(mtpb: Mtpb) -> None:
    Path("file").write_text("")
    said = mtpb("run", "mtpb", "--model", "reference", "-o", "file/run", *BOX)
    assert said.code == 2
    assert "use another -o" in said.err


def test_without_any_box_nothing_is_run(mtpb: Mtpb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    said = mtpb("run", "mtpb", "--model", "reference", "--limit", "1", "--sandbox", "docker")
    assert said.code == 2
    assert "docker" in said.err.lower()
    assert not list(Path().rglob("results.jsonl"))


def test_limits_are_chosen_with_the_first_execution(mtpb: Mtpb) -> None:
    mtpb("generate", "mtpb", "--model", "reference", "--limit", "1", "--limit-cases", "1", "-o", "run")
    assert mtpb("execute", "run", *BOX, "--time-limit", "4").code == 0
    assert json.loads(Path("run/run.json").read_text())["settings"]["limits"]["time_seconds"] == 4.0
    said = mtpb("execute", "run", *BOX, "--time-limit", "5")
    assert said.code == 2
    assert "under other limits" in said.err


def test_a_leaderboard_leaves_out_what_has_no_scores_and_says_so(mtpb: Mtpb) -> None:
    reference_run(mtpb)
    mtpb("generate", "mtpb", "--model", "reference", "--limit", "1", "-o", "unfinished")
    said = mtpb("leaderboard", "run", "unfinished", "run")
    assert said.code == 0
    assert said.out.count("| reference") == 1
    assert "left out" in said.err


def test_scores_of_an_unfinished_run_say_what_continues_it(mtpb: Mtpb) -> None:
    mtpb("generate", "mtpb", "--model", "reference", "--limit", "1", "-o", "run")
    said = mtpb("score", "run")
    assert said.code == 3
    assert "`mtpb execute` that made it" in said.err


def test_pass_at_k_of_a_file_needs_k_samples_of_every_case(mtpb: Mtpb) -> None:
    rows = [{"task_id": f"HumanEval/{number}", "completion": "    pass"} for number in (0, 0, 1)]
    Path("samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = mtpb("execute", "samples.jsonl", "--task", "humaneval", *BOX, "-o", "graded", "--k", "1,2")
    assert said.code == 2
    assert "only 1 samples of HumanEval/1" in said.err
    assert not Path("graded").exists()
    said = mtpb("execute", "samples.jsonl", "--task", "humaneval", *BOX, "-o", "graded")
    assert said.code == 0
    assert " 2 of 164 |" in said.out


def test_samples_made_elsewhere_are_graded_in_their_order(mtpb: Mtpb) -> None:
    rows = [
        {"id": "7", "input": {}, "gold_output": 42, "completions": "print(42)"},
        {"id": "3", "input": {}, "gold_output": [1, 2], "completions": "print([1, 3])"},
        {"id": "7", "input": {}, "gold_output": 42, "completions": "print(41 +"},
        {"id": "9", "input": {"a": 1}, "gold_output": "x", "completions": "pass"},
    ]
    Path("samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = mtpb("execute", "samples.jsonl", "--task", "mtpb", *BOX, "-o", "graded")
    assert said.code == 0, said.err
    graded = results("graded")
    assert [(line["index"], line["task_id"], line["verdict"], line["passed"]) for line in graded] == [
        (0, "7", "pass", True),
        (1, "3", "wrong", False),
        (2, "7", "error", False),
        (3, "9", "no_output", False),
    ]
    before = Path("graded/results.jsonl").read_bytes()
    assert mtpb("score", "graded").code == 0
    assert Path("graded/results.jsonl").read_bytes() == before


def test_a_wrong_sample_file_is_refused_by_its_line_before_anything_runs(mtpb: Mtpb) -> None:
    Path("samples.jsonl").write_text('{"id": "7", "input": {}, "gold_output": 1, "completions": "print(1)"}\n{"id": "8"}\n')
    said = mtpb("execute", "samples.jsonl", "--task", "mtpb", *BOX, "-o", "graded")
    assert said.code == 2
    assert "samples.jsonl:2" in said.err
    assert not Path("graded").exists()


def test_humaneval_passes_by_message_and_never_by_exit_status(mtpb: Mtpb) -> None:
    assert mtpb("run", "humaneval", "--model", "reference", "--limit", "4", *BOX, "-o", "right").code == 0
    assert [line["verdict"] for line in results("right")] == ["pass"] * 4
    cheats = [
        "    import sys; sys.exit(0)",
        "    import os; os._exit(0)",
        "    return 1\nimport sys\nsys.exit(0)\n",
        "    pass\n",
    ]
    rows = [{"task_id": "HumanEval/0", "completion": cheat} for cheat in cheats]
    Path("cheats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert mtpb("execute", "cheats.jsonl", "--task", "humaneval", *BOX, "-o", "cheats").code == 0
    assert not any(line["passed"] for line in results("cheats"))


def test_a_model_that_fails_leaves_an_incomplete_run(mtpb: Mtpb) -> None:
    Path("mine.py").write_text(
        "from harness.errors import ModelError\n"
        "class Mine:\n"
        "    name = 'mine'\n"
        "    async def complete(self, request):\n"
        "        raise ModelError('out of order')\n"
    )
    said = mtpb("run", "mtpb", "--model", "./mine.py:Mine", "--limit", "1", *BOX, "-o", "run")
    assert said.code == 3
    assert "out of order" in said.err
    assert "this continues: mtpb" in said.err
    assert {line["verdict"] for line in results("run")} == {"fault"}


@pytest.mark.parametrize(
    ("reply", "timeout", "words"),
    [
        (failure(429, "slow down", retry_after="0"), "60", "429"),
        (failure(500, "oops"), "60", "500"),
        (Reply(body="<html>welcome</html>"), "60", "given up after 2 requests"),
        (Reply(silent=True), "1", "given up after 2 requests"),
    ],
    ids=["429", "500", "garbage", "nothing"],
)
def test_a_server_that_misbehaves_is_asked_within_bounds_and_makes_faults(
    mtpb: Mtpb, reply: Reply, timeout: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    one_case = ("run", "mtpb", "--problem-ids", "array/net-change", "--limit-cases", "1", *BOX, "-o", "run")
    with FakeOpenAI(chat("```python\nreadings = [1, 2]\n```"), reply) as server:
        flags = ("--model", "openai:any", "-M", "retries=1", "-M", f"timeout={timeout}")
        said = mtpb(*one_case, *flags, "--base-url", server.base_url)
        assert len(server.requests) <= 3  # the first turn, and the second one twice
    assert said.code == 3, said.err
    assert words in said.err
    assert [line["verdict"] for line in results("run")] == ["fault"]
    assert "secret-key" not in "".join(path.read_text() for path in Path("run").iterdir()) + said.err + said.out
    with FakeOpenAI(chat("```python\nprint(6)\n```")) as server:
        assert mtpb(*one_case, "--model", "openai:any", "--base-url", server.base_url).code == 0
    assert [line["verdict"] for line in results("run")] == ["wrong"]


def test_a_dry_run_says_how_much_there_is_to_do(mtpb: Mtpb) -> None:
    said = reference_run(mtpb, "--dry-run", "--n-samples", "10")
    assert said.code == 0
    assert "3 of " in said.out
    assert "60 programs" in said.out
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["MTPB_SANDBOX", "MTPB_TIME_LIMIT", "MTPB_K"])
def test_every_flag_is_read_from_the_environment(mtpb: Mtpb, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "nonsense")
    said = mtpb("run", "mtpb", "--model", "reference")
    assert said.code == 2
    assert "nonsense" in said.err


def test_flags_may_have_underscores_and_come_from_the_environment(mtpb: Mtpb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTPB_LIMIT_CASES", "1")
    said = mtpb("run", "mtpb", "--model", "reference", "--problem_ids", "array/net-change,string/shout", *BOX, "-o", "run")
    assert said.code == 0, said.err
    assert [line["task_id"] for line in results("run")] == ["array/net-change", "string/shout"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(mtpb: Mtpb, name: str) -> None:
    said = mtpb(name, "--help")
    assert said.code == 0
    assert "Usage: mtpb" in said.out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, harness.cli\n"
        "harness.cli.main(['--help'])\n"
        "heavy = {'numpy', 'scipy', 'pandas', 'pydantic', 'yaml', 'docker', 'openai', 'tqdm', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def start(*arguments: str) -> subprocess.Popen[str]:
    script = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def long_run(output: Path) -> tuple[str, ...]:
    return ("run", "mtpb", "--model", "reference", "--n-samples", "2", *BOX, "-o", str(output))


def wait_for_executions(run: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    path = run / "executions.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run does not get going"
        time.sleep(0.01)


def test_sigkill_at_a_random_moment_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = start(*long_run(whole))
    undisturbed.communicate()
    assert undisturbed.returncode == 0
    for count in sorted(random.sample(range(1, 200), 3)):
        process = start(*long_run(killed))
        wait_for_executions(killed, count)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    again = start(*long_run(killed))
    again.communicate()
    assert again.returncode == 0
    assert (killed / "results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()
    keys = [json.dumps(json.loads(line)["key"]) for line in (killed / "executions.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == len(results(whole))


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(*long_run(tmp_path / "run"))
    wait_for_executions(tmp_path / "run", 5)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "this continues" in err
    again = start(*long_run(tmp_path / "run"))
    assert "already done" in again.communicate()[1]
    assert again.returncode == 0
