"""llama.cpp in this process, with a real small model; and its own HTTP server as an OpenAI-compatible one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError, UsageError
from harness.models.llamacpp import LlamaCppModel, load_library, open_gguf, sampler_settings, server_parameters
from harness.models.registry import open_model
from harness.models.smollm2 import pull_smollm2
from harness.models.stop import end_of_stop
from harness.nouns import Completion, FinishReason, Message, Request, Sampling
from harness.protocols import Model, ModelSpec

GREEDY = Sampling(0.0, 1.0)
DEF = "def add(a, b):\n    return"


def request(
    prompt: str | tuple[Message, ...],
    tokens: int = 8,
    *,
    sampling: Sampling = GREEDY,
    seed: int = 1,
    stop: tuple[str, ...] = (),
) -> Request:
    return Request(prompt, tokens, sampling, seed, stop)


@pytest.mark.parametrize(
    ("text", "new", "stop", "end"),
    [
        ("", "abc", (), None),
        ("", "abc", ("b",), 2),
        ("x\n\n", "\ny", ("\n\n\n",), 4),
        ("x\n", "\n\n\n\n", ("\n\n\n", "\n\n"), 3),
        ("ab", "cd", ("xyz", "d"), 4),
    ],
)
def test_an_answer_ends_where_the_first_stop_string_does(text: str, new: str, stop: tuple[str, ...], end: int | None) -> None:
    assert end_of_stop(text, new, stop) == end


@pytest.mark.parametrize("temperature", [0.2, 0.8, 1.0, 1.5])
def test_min_p_drops_only_what_has_no_chance_at_the_temperature(temperature: float) -> None:
    threshold = sampler_settings(Sampling(temperature, 0.95))["min_p"]
    assert 0 < threshold ** (1 / temperature) < 1.001e-10


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LlamaCppModel]:
    model = open_model("smollm2", options={"slots": "2", "context": "512"})
    assert isinstance(model, LlamaCppModel)
    yield model
    asyncio.run(model.aclose())


def ask(model: Model, *requests: Request) -> list[Completion]:
    """The answers to requests that are made at the same time."""

    async def talk() -> list[Completion]:
        return await asyncio.gather(*(model.complete(each) for each in requests))

    return asyncio.run(talk())


@pytest.mark.model
def test_a_real_model_completes_code(smollm2: LlamaCppModel) -> None:
    (answer,) = ask(smollm2, request(DEF, 5))
    assert answer.text.startswith(" a + b")
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.prompt_tokens == 9
    assert answer.completion_tokens == 5


@pytest.mark.model
def test_a_stop_string_is_part_of_the_answer_and_nothing_follows_it(smollm2: LlamaCppModel) -> None:
    (answer,) = ask(smollm2, request(DEF, 64, stop=("\n\n", " + ")))
    assert answer.text == " a + "
    assert answer.finish_reason is FinishReason.STOP
    assert answer.completion_tokens is not None
    assert answer.completion_tokens < 10


@pytest.mark.model
def test_a_chat_goes_through_the_models_template(smollm2: LlamaCppModel) -> None:
    (answer,) = ask(smollm2, request((Message("user", "Say hi"),), 6))
    assert answer.text
    assert answer.prompt_tokens is not None
    assert answer.prompt_tokens > 10


@pytest.mark.model
def test_the_seed_decides_what_is_drawn(smollm2: LlamaCppModel) -> None:
    hot = Sampling(1.5, 1.0)
    first, again, other = (ask(smollm2, request("Once", 16, sampling=hot, seed=seed))[0].text for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.model
def test_a_tiny_top_p_is_as_good_as_greedy(smollm2: LlamaCppModel) -> None:
    prompt = "# Add two numbers.\ndef add(a, b):\n"
    assert ask(smollm2, request(prompt, sampling=Sampling(1.0, 1e-6), seed=9)) == ask(smollm2, request(prompt))


@pytest.mark.model
def test_more_requests_than_slots_all_get_answers(smollm2: LlamaCppModel) -> None:
    answers = ask(smollm2, *(request(f"{number} + 1 =", 4) for number in range(5)))
    assert len(answers) == 5
    assert all(answer.text for answer in answers)


@pytest.mark.model
@pytest.mark.parametrize("words", [600, 505])
def test_a_history_that_outgrows_the_context_is_our_failure_and_says_so(smollm2: LlamaCppModel, words: int) -> None:
    with pytest.raises(ModelError, match=r"\d+ tokens .*context of 512; give -M context=") as caught:
        ask(smollm2, request("word " * words, 32))
    assert not caught.value.retryable
    assert ask(smollm2, request(DEF, 2))[0].text == " a +"


@pytest.mark.model
def test_an_answer_nobody_waits_for_is_broken_off(smollm2: LlamaCppModel) -> None:
    async def give_up() -> Completion:
        long = [asyncio.create_task(smollm2.complete(request("Once upon a time", 400))) for _ in range(2)]
        await asyncio.sleep(0)
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        return await smollm2.complete(request(DEF, 2))

    assert asyncio.run(give_up()).text == " a +"


@pytest.mark.model
def test_the_digest_is_that_of_the_weights(smollm2: LlamaCppModel) -> None:
    assert smollm2.digest == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.mark.model
def test_llama_cpp_is_quiet_and_leaves_the_environment_alone(smollm2: LlamaCppModel, capfd: pytest.CaptureFixture[str]) -> None:
    ask(smollm2, request(DEF, 2))
    assert capfd.readouterr() == ("", "")
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.model
def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"nonsense" * 100)
    with pytest.raises(UsageError, match=r"cannot load .*broken\.gguf"):
        open_gguf(tmp_path / "broken.gguf", "llamacpp:broken.gguf", ModelSpec())


@pytest.fixture(scope="module")
def server() -> Any:
    """llama.cpp's own HTTP server on loopback; its key is `secret`."""
    xllamacpp = load_library("smollm2")
    parameters = server_parameters(xllamacpp, pull_smollm2(), 2, 512, 1)
    parameters.api_keys = ["secret"]
    return xllamacpp.Server(parameters)


@pytest.fixture
def ask_over_http(server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Request], Completion]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    def ask_once(asked: Request) -> Completion:
        async def talk() -> Completion:
            model = open_model("openai:smollm2", base_url=f"{server.listening_address}/v1", options={"retries": "0"})
            try:
                return await model.complete(asked)
            finally:
                await model.aclose()  # type: ignore[attr-defined]

        return asyncio.run(talk())

    return ask_once


@pytest.mark.model
def test_the_openai_adapter_completes_over_http(ask_over_http: Callable[[Request], Completion]) -> None:
    answer = ask_over_http(request(DEF, 5))
    assert answer.text.startswith(" a + b")
    assert (answer.prompt_tokens, answer.completion_tokens) == (9, 5)
    assert answer.finish_reason is FinishReason.LENGTH


@pytest.mark.model
def test_the_openai_adapter_stops_a_stream_over_http(ask_over_http: Callable[[Request], Completion]) -> None:
    assert ask_over_http(request(DEF, 64, stop=(" + ",))) == Completion(" a + ")


@pytest.mark.model
def test_the_openai_adapter_chats_over_http(ask_over_http: Callable[[Request], Completion]) -> None:
    answer = ask_over_http(request((Message("user", "Say hi"),), 6))
    assert answer.text
    assert answer.completion_tokens == 6


@pytest.mark.model
def test_a_wrong_key_is_told_over_http(ask_over_http: Callable[[Request], Completion], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        ask_over_http(request(DEF))
