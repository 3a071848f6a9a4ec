"""The published set: fetched from loopback, imported without loss, and then a task."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from problem_texts import ROW, row, write_rows

from harness.errors import ProblemError, UsageError
from harness.nouns import Prints
from mtpb.benchmark import MtpbBenchmark
from mtpb.problem_file import load_problem, load_problems
from mtpb.published import DIGEST, MAX_BYTES, NAME, SHA256, fetch, import_file, installed, published_row, set_folder

# ---- importing ----


def test_a_row_becomes_a_file_and_the_file_gives_the_row_back(tmp_path: Path) -> None:
    folder = import_file(write_rows(tmp_path / "rows.jsonl", row()), tmp_path / "set")
    loaded = load_problem(folder / "7.yaml")
    assert published_row(loaded.content) == ROW
    assert loaded.problem.id == "7"
    assert loaded.problem.max_new_tokens == (128, 128)
    assert loaded.problem.cases[0].prompts == ('Assign "[1, \'x\']" to "a".', "Print {a} of 1.5.")
    assert [case.check for case in loaded.problem.cases] == [Prints(12), Prints({"set": [None]})]
    assert loaded.problem.cases[0].reference is None


def test_a_row_without_a_budget_gets_the_sampler_s_own(tmp_path: Path) -> None:
    bare = {name: value for name, value in ROW.items() if name != "max_gen_length"}
    loaded = load_problem(import_file(write_rows(tmp_path / "rows.jsonl", bare), tmp_path / "set") / "7.yaml")
    assert loaded.problem.max_new_tokens == (256, 256)
    assert published_row(loaded.content) == bare


def test_what_no_prompt_or_case_uses_is_kept_as_data(tmp_path: Path) -> None:
    odd = row(inputs=[{"A": 1, "B": 2, "C": [3]}, {"A": 1, "B": 2}], outputs=[1, 2, -1])
    loaded = load_problem(import_file(write_rows(tmp_path / "rows.jsonl", odd), tmp_path / "set") / "7.yaml")
    assert len(loaded.problem.cases) == 2
    assert loaded.content.source is not None
    assert loaded.content.source.surplus_outputs == [-1]
    assert published_row(loaded.content) == odd


def test_the_licence_goes_with_the_data(tmp_path: Path) -> None:
    folder = import_file(write_rows(tmp_path / "rows.jsonl", row()), tmp_path / "set")
    notice = (folder / "LICENSE").read_text("utf-8")
    assert "Copyright (c) 2022, Salesforce.com, Inc." in notice
    assert "BSD 3-Clause" in notice


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "rows.jsonl:2: this is not a JSON line"),
        ("[1]", "rows.jsonl:2: this is not a row of the published set"),
        (json.dumps(row(extra=1)), "rows.jsonl:2: this is not a row of the published set"),
        (json.dumps({"id": "1"}), "whose fields are category, description, id, inputs"),
        (json.dumps(row()), "rows.jsonl:2: the id '7' stands twice"),
        (json.dumps(row(id="../up")), "rows.jsonl:2: problem '../up': the id is not a number in a string"),
        (json.dumps(row(id=8)), "rows.jsonl:2: problem 8: "),
        (json.dumps(row(id="8", outputs=[1])), "rows.jsonl:2: problem '8': 2 inputs but 1 outputs"),
        (json.dumps(row(id="8", prompts=["{A:>3}"])), "has a placeholder that is more than a name"),
        (json.dumps(row(id="8", prompts=["{A.real}"])), "has a placeholder that is more than a name"),
        (json.dumps(row(id="8", prompts=["{"])), "rows.jsonl:2: problem '8': "),
        (json.dumps(row(id="8", prompts=["{D}"])), "rows.jsonl:2: problem '8': "),
        (json.dumps(row(id="8", prompts=5)), "rows.jsonl:2: problem '8': "),
        (json.dumps(row(id="8", category="poetry")), "rows.jsonl:2: problem '8': 'category' is 'poetry'; write 'array'"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_changes_nothing(line: str, words: str, tmp_path: Path) -> None:
    folder = import_file(write_rows(tmp_path / "good.jsonl", row(name="Before")), tmp_path / "data" / "set")
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row())}\n{line}\n", "utf-8")
    with pytest.raises(ProblemError) as caught:
        import_file(path, folder)
    assert words in str(caught.value)
    assert load_problem(folder / "7.yaml").problem.title == "Before"
    assert [each.name for each in folder.parent.iterdir()] == ["set"]


def test_importing_again_replaces_what_was_there(tmp_path: Path) -> None:
    folder = import_file(write_rows(tmp_path / "one.jsonl", row(), row(id="8")), tmp_path / "set")
    import_file(write_rows(tmp_path / "two.jsonl", row(id="9")), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["9.yaml", "LICENSE"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.jsonl: cannot be read: No such file"):
        import_file(tmp_path / "nowhere.jsonl", tmp_path / "set")


def test_all_115_published_problems_survive_the_way_to_yaml_and_back(
    published_rows: list[dict[str, Any]], published_folder: Path
) -> None:
    loaded = load_problems(published_folder)
    back = [json.dumps(published_row(each.content), sort_keys=True) for each in loaded]
    assert back == [json.dumps(each, sort_keys=True) for each in published_rows]
    assert len(back) == 115


def test_all_575_published_prompts_are_filled_as_str_format_would(
    published_rows: list[dict[str, Any]], published_folder: Path
) -> None:
    cases = 0
    for each, published in zip(load_problems(published_folder), published_rows, strict=True):
        for case, inputs in zip(each.problem.cases, published["inputs"], strict=True):
            assert list(case.prompts) == [prompt.format(**inputs) for prompt in published["prompts"]]
            cases += 1
    assert cases == 575


# ---- the task ----


def test_the_installed_set_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTPB_DATA_DIR", str(tmp_path))
    import_file(write_rows(tmp_path / "rows.jsonl", row(id="10"), row(id="9")), set_folder(tmp_path))
    benchmark = installed()
    assert benchmark.name == NAME
    assert [problem.id for problem in benchmark.problems()] == ["9", "10"]


def test_a_set_that_is_not_installed_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTPB_DATA_DIR", str(tmp_path))
    with pytest.raises(UsageError, match="run `mtpb problems fetch mtpb-2022`, or `mtpb problems import FILE`"):
        installed().problems()


def test_samples_are_read_whether_or_not_the_set_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTPB_DATA_DIR", str(tmp_path))
    sample = {"id": "hostile/7", "input": {}, "gold_output": 42, "completions": "print(42)"}
    assert installed().read_sample(sample, "f:1").check == Prints(42)


def test_fetching_the_set_does_not_change_the_digest_of_samples_graded_before(published_folder: Path) -> None:
    assert MtpbBenchmark(NAME, load_problems(published_folder)).digest == DIGEST


# ---- fetching ----


@dataclass
class Served:
    """A server on loopback that answers every request alike."""

    content: bytes = b""
    status: int = 200
    address: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the parent's name)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_address[1]}/mtpb.jsonl"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_the_published_set_is_fetched_checked_and_imported(served: Served, published_file: Path, tmp_path: Path) -> None:
    served.content = published_file.read_bytes()
    folder = fetch(tmp_path, served.address)
    assert folder == tmp_path / "problems" / NAME
    assert len(load_problems(folder)) == 115
    assert served.asked == ["/mtpb.jsonl"]


def test_another_file_than_the_released_one_is_refused_and_nothing_written(served: Served, tmp_path: Path) -> None:
    served.content = json.dumps(row()).encode()
    got = hashlib.sha256(served.content).hexdigest()
    with pytest.raises(UsageError) as caught:
        fetch(tmp_path, served.address)
    assert str(caught.value) == f"{served.address}: sha256 is {got}, expected {SHA256}; nothing was written"
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_is_cut_off(served: Served, tmp_path: Path) -> None:
    served.content = b"x" * (MAX_BYTES + 1)
    with pytest.raises(UsageError, match=f"more than {MAX_BYTES} bytes"):
        fetch(tmp_path, served.address)


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses_is_told(status: int, served: Served, tmp_path: Path) -> None:
    served.status = status
    with pytest.raises(UsageError, match=r"mtpb\.jsonl: not fetched: .*; try again, or run `mtpb problems fetch"):
        fetch(tmp_path, served.address)


def test_an_address_where_nobody_answers_is_told(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/mtpb.jsonl"
    with pytest.raises(UsageError, match=r"not fetched: .*refused"):
        fetch(tmp_path, nobody)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "mtpb.jsonl"])
def test_only_web_addresses_are_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a web address; write https://"):
        fetch(tmp_path, address)
