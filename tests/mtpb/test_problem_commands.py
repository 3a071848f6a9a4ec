"""`mtpb problems`, as it is typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from problem_texts import GOOD, row, write_rows

from harness.cli import main
from mtpb.commands import problems

WriteProblem = Callable[..., Path]
BARE = re.sub(r"    reference: .*\n(      .*\n)?", "", GOOD)


def typed(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(problems, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_list_shows_a_line_for_each_problem(write_problem: WriteProblem) -> None:
    code, output = typed("list", write_problem())
    assert code == 0
    assert output.split("\n")[:2] == [
        "id                   category  difficulty  turns  cases",
        "string/count-vowels  string    easy        3      5",
    ]
    assert "1 problems, 3 turns, 5 cases" in output


def test_list_without_a_task_shows_the_bundled_problems() -> None:
    code, output = typed("list", "--category", "class,dict")
    assert code == 0
    assert {line.split("/")[0] for line in output.split("\n") if "/" in line} == {"class", "dict"}


def test_show_prints_the_prompts_as_the_model_sees_them(write_problem: WriteProblem) -> None:
    code, output = typed("show", write_problem(), "--case", "none")
    assert code == 0
    assert "--- turn 1\nStore the string 'rhythm' in `s`.\n" in output
    assert output.endswith("--- expected\n0\n")
    assert typed("show", "string/count-vowels", "--task", write_problem())[0] == 0


def test_show_never_prints_references(write_problem: WriteProblem) -> None:
    assert "print(n)" not in typed("show", write_problem())[1]


def test_show_of_an_unknown_case_lists_the_known_ones(write_problem: WriteProblem, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", "show", str(write_problem()), "--case", "x"]) == 2
    assert "no case 'x'; its cases are word, none, empty, all, twice" in capsys.readouterr().err


def test_check_ends_with_4_when_there_is_something_to_mend(write_problem: WriteProblem) -> None:
    path = write_problem(BARE)
    code, output = typed("check", path)
    assert code == 4
    assert f"{path}:6: there is no reference code; add it to every turn\n" in output
    assert main(["problems", "check", str(path)]) == 4


def test_check_ends_with_2_when_a_file_cannot_be_read(write_problem: WriteProblem, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_problem(GOOD.replace("version: 1", "version: 0"))
    assert main(["problems", "check", str(path)]) == 2
    assert f"{path}:2: 'version' is 0" in capsys.readouterr().err


@pytest.mark.bubblewrap
def test_check_runs_references_in_the_box(write_problem: WriteProblem, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = (
        write_problem(),
        write_problem(GOOD.replace("expect: 5", "expect: 6").replace("count-", "some-"), "string/some-vowels"),
    )
    assert main(["problems", "check", str(good), "--sandbox", "bubblewrap"]) == 0
    assert main(["problems", "check", str(good), str(bad), "--sandbox", "bubblewrap"]) == 4
    assert capsys.readouterr().out == (
        f"{bad}:18: case 'all': the reference does not pass: wrong: expected 6, printed 5; mend it, or `expect`\n"
    )


def test_import_makes_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTPB_DATA_DIR", str(tmp_path / "data"))
    code, output = typed("import", write_rows(tmp_path / "rows.jsonl", row(), row(id="8")))
    assert code == 0
    assert f"2 problems in {tmp_path / 'data' / 'problems' / 'mtpb-2022'}" in output
    assert "8   dict" in typed("list", "mtpb-2022")[1]


def test_fetch_asks_the_address_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MTPB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MTPB_ADDRESS", "http://127.0.0.1:9/x.jsonl")
    assert main(["problems", "fetch", "mtpb-2022"]) == 2
    assert "http://127.0.0.1:9/x.jsonl: not fetched" in capsys.readouterr().err


def test_fetch_knows_one_set() -> None:
    code, output = typed("fetch", "mtpb-2099")
    assert code == 2
    assert "'mtpb-2022'" in output


def test_importing_the_commands_loads_no_schema_library() -> None:
    import subprocess
    import sys

    code = "import sys, json, mtpb.commands; print(json.dumps(sorted({'pydantic', 'yaml', 'numpy'} & sys.modules.keys())))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert json.loads(loaded) == []
