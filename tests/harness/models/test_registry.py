"""Finding models by what is typed after --model."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness.errors import ModelError, UsageError
from harness.models.options import need
from harness.models.registry import adapters, open_model, parse_options
from harness.nouns import Completion, Request, Sampling

GUIDE = Path(__file__).parents[3] / "docs" / "write-an-adapter.md"
ECHO = """
from harness.nouns import Completion

class Echo:
    name = "echo"
    def __init__(self, suffix="!"):
        self.suffix = suffix
    async def complete(self, request):
        return Completion(request.prompt + self.suffix)

class Deaf:
    name = "deaf"

answer = 42
"""


def request(prompt: str = "hello") -> Request:
    return Request(prompt, 16, Sampling(), seed=1)


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return path


def test_options_are_pairs() -> None:
    assert parse_options(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], ["a=1", "a=2"]])
def test_options_that_say_nothing_or_two_things_are_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match="-M"):
        parse_options(pairs)


def test_the_bundled_adapters_are_found_by_entry_point() -> None:
    assert {"reference", "replay", "llamacpp", "smollm2", "openai"} <= adapters().keys()


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no model 'gpt'; there are: .*llamacpp.*reference.*file\.py:Class"):
        open_model("gpt:4")


def test_a_name_offered_twice_is_refused() -> None:
    points = [EntryPoint("x", "one:create", "mtpb.models"), EntryPoint("x", "two:create", "mtpb.models")]
    with pytest.raises(UsageError, match="'x' is offered twice: one:create and two:create"):
        adapters(points)


@pytest.mark.parametrize(
    ("spec", "options", "base_url", "fact"),
    [
        ("reference:x", {}, None, "nothing follows reference"),
        ("reference", {"a": "1"}, None, "it has none"),
        ("reference", {}, "http://localhost", "reaches no server"),
        ("replay", {}, None, "-M run=DIR"),
        ("replay", {"path": "x"}, None, "it knows run"),
        ("llamacpp", {}, None, "llamacpp:PATH.gguf"),
        ("llamacpp:no.gguf", {}, None, "there is no file no.gguf"),
        ("llamacpp:no.gguf", {"slot": "2"}, None, "it knows slots, context, threads"),
        ("llamacpp:no.gguf", {"slots": "two"}, None, "whole number from 1"),
        ("smollm2:big", {}, None, "nothing follows smollm2"),
        ("smollm2", {"layers": "2"}, None, "it knows slots, context, threads"),
        ("openai", {}, "http://localhost", "openai:NAME"),
    ],
)
def test_what_an_adapter_cannot_use_is_refused(spec: str, options: dict[str, str], base_url: str | None, fact: str) -> None:
    with pytest.raises(UsageError, match=re.escape(fact)):
        open_model(spec, options=options, base_url=base_url)


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(UsageError, match=re.escape("pip install 'mtpb[local]'")):
        need("a_package_nobody_has", "local", "llamacpp")


def test_a_class_in_a_file_is_a_model(echo: Path) -> None:
    model = open_model(f"{echo}:Echo", options={"suffix": "?"})
    assert asyncio.run(model.complete(request())) == Completion("hello?")


def test_a_relative_path_is_a_path(echo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(echo.parent)
    assert open_model("./echo.py:Echo").name == "echo"


@pytest.mark.parametrize(
    ("end", "options", "fact"),
    [
        (":Echo", {"volume": "11"}, "volume"),
        (":Missing", {}, "no class 'Missing'"),
        (":answer", {}, "no class 'answer'"),
        (":Deaf", {}, "async def complete"),
        ("", {}, "name the class too"),
    ],
)
def test_a_class_that_does_not_fit_is_refused(echo: Path, end: str, options: dict[str, str], fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        open_model(f"{echo}{end}", options=options)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    with pytest.raises(UsageError, match=r"there is no file .*broken\.py"):
        open_model(f"{broken}:X")
    broken.write_text("1/0")
    with pytest.raises(UsageError, match=r"running .*broken\.py raised ZeroDivisionError"):
        open_model(f"{broken}:X")


class UpperHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"text": asked["prompt"].upper()}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


def test_the_example_of_the_guide_works(tmp_path: Path) -> None:
    code = re.search(r"```python\n(import .*?)```", GUIDE.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "upper.py").write_text(code[1])
    with HTTPServer(("127.0.0.1", 0), UpperHandler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        model = open_model(f"{tmp_path / 'upper.py'}:Upper", options={"url": url})
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert asyncio.run(model.complete(request())) == Completion("HELLO")
        thread.join()
    with pytest.raises(ModelError, match="upper at http"):
        asyncio.run(model.complete(request()))
