"""The OpenAI adapter against a server that misbehaves in every way a server can."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from openai_fake import FakeOpenAI, Reply, chat, failure, stream

from harness.errors import ModelError, UsageError
from harness.models.openai_api import LONGEST_WAIT_SECONDS, OpenAIModel, connect, retry_after_seconds
from harness.nouns import Completion, FinishReason, Message, Request, Sampling
from harness.protocols import ModelSpec

KEY = "sk-very-secret"
GREETING = (Message("user", "hello"),)


def ask(fake: FakeOpenAI, prompt: str | tuple[Message, ...], *, stop: tuple[str, ...] = (), **options: str) -> Completion:
    return ask_and_count_waits(fake, prompt, stop=stop, **options)[0]


def ask_and_count_waits(
    fake: FakeOpenAI, prompt: str | tuple[Message, ...], *, stop: tuple[str, ...] = (), **options: str
) -> tuple[Completion, list[float]]:
    """What the model answers, and how long it waited between requests; no time passes while it waits."""
    waits: list[float] = []

    async def talk() -> Completion:
        model = connected(fake.base_url, options, waits)
        try:
            return await model.complete(Request(prompt, 16, Sampling(0.2, 0.9), seed=7, stop=stop))
        finally:
            await model.aclose()

    return asyncio.run(talk()), waits


def connected(base_url: str, options: Mapping[str, str], waits: list[float]) -> OpenAIModel:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return connect(ModelSpec("tiny", dict(options), base_url), {"OPENAI_API_KEY": KEY}, sleep)


def test_messages_go_to_the_chat_endpoint() -> None:
    with FakeOpenAI(chat("hi")) as fake:
        assert ask(fake, GREETING) == Completion("hi", FinishReason.STOP, 3, 2)
    path, body, _ = fake.requests[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 16,
        "temperature": 0.2,
        "top_p": 0.9,
        "seed": 7,
    }


def test_a_text_goes_to_the_completions_endpoint() -> None:
    with FakeOpenAI(stream("x =", " 1")) as fake:
        assert ask(fake, "# Let x be 1.\n") == Completion("x = 1", FinishReason.STOP, 3, 2)
    path, body, _ = fake.requests[0]
    assert path == "/v1/completions"
    assert body["prompt"] == "# Let x be 1.\n"
    assert "stop" not in body


def test_an_answer_ends_with_the_stop_string_that_was_met_first() -> None:
    with FakeOpenAI(stream("x = 1\n", "\n", "\nprint", "(x)")) as fake:
        answer = ask(fake, "", stop=("print", "\n\n\n"))
    assert answer == Completion("x = 1\n\n\n", FinishReason.STOP)


def test_reasoning_is_kept_apart() -> None:
    with FakeOpenAI(chat("x = 1", reasoning_content="let me think")) as fake:
        assert ask(fake, GREETING).reasoning == "let me think"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (chat("x", "length"), FinishReason.LENGTH),
        (chat("", "content_filter"), FinishReason.REFUSED),
        (chat(None, refusal="I will not"), FinishReason.REFUSED),
    ],
)
def test_the_finish_reason_is_told(reply: Reply, reason: FinishReason) -> None:
    with FakeOpenAI(reply) as fake:
        assert ask(fake, GREETING).finish_reason is reason


def test_fields_a_model_does_not_support_are_left_out_and_the_budget_renamed() -> None:
    with FakeOpenAI(chat("hi")) as fake:
        ask(fake, GREETING, omit="temperature,top_p,seed", max_tokens_field="max_completion_tokens")
    assert fake.requests[0][1].keys() == {"model", "messages", "max_completion_tokens"}


FAILURES = {
    "429": failure(429),
    "500": failure(500),
    "503 in words": Reply(503, "come back later", {"Content-Type": "text/plain"}),
    "not JSON": Reply(body="{nonsense"),
    "a web page": Reply(body="<html>hello</html>", headers={"Content-Type": "text/html"}),
    "no choices": Reply(body="{}"),
    "empty choices": Reply(body='{"choices": []}'),
    "choices of another type": Reply(body='{"choices": 3}'),
    "content of another type": chat(["x"]),  # type: ignore[arg-type]
    "JSON null": Reply(body="null"),
    "nothing": Reply(),
    "a cut connection": Reply(body='{"choices": [', cut=True),
}


@pytest.mark.parametrize("prompt", [GREETING, "a text"], ids=["chat", "completions"])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_server_that_fails_for_ever_is_asked_a_bounded_number_of_times(kind: str, prompt: str | tuple[Message, ...]) -> None:
    with FakeOpenAI(FAILURES[kind]) as fake, pytest.raises(ModelError, match="given up after 3 requests") as caught:
        ask(fake, prompt, retries="2")
    assert len(fake.requests) == 3
    assert caught.value.retryable


@pytest.mark.parametrize("kind", FAILURES)
def test_a_server_that_recovers_is_forgiven(kind: str) -> None:
    with FakeOpenAI(FAILURES[kind], FAILURES[kind], chat("hi")) as fake:
        assert ask(fake, GREETING, retries="2").text == "hi"


def test_a_stream_that_breaks_off_is_asked_for_again_from_the_start() -> None:
    broken = stream("x = ", finish_reason=None, usage=False, cut=True)
    ended_early = stream("x = ", finish_reason=None)
    with FakeOpenAI(broken, ended_early, stream("x = 1")) as fake:
        assert ask(fake, "", retries="2").text == "x = 1"


@pytest.mark.parametrize("prompt", [GREETING, "a text"], ids=["chat", "completions"])
def test_a_server_that_never_answers_is_given_up(prompt: str | tuple[Message, ...]) -> None:
    # On a busy machine a request may be given up before the server has read it, so what was asked is counted here.
    words = r"no answer within 0\.2 s.*given up after 2 requests"
    with FakeOpenAI(Reply(silent=True)) as fake, pytest.raises(ModelError, match=words):
        ask(fake, prompt, retries="1", timeout="0.2")
    assert len(fake.requests) <= 2


def test_a_server_that_is_not_there_is_named() -> None:
    with FakeOpenAI(chat("hi")) as fake:
        pass
    with pytest.raises(ModelError, match=r"tiny at http://127\.0\.0\.1:\d+: cannot be reached"):
        ask(fake, GREETING, retries="0")


def test_retry_after_is_heeded() -> None:
    with FakeOpenAI(failure(429, Retry_After="7"), chat("hi")) as fake:
        _, waits = ask_and_count_waits(fake, GREETING)
    assert waits == [7.0]


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=45.0) == 15.0


def test_without_retry_after_the_waits_grow() -> None:
    with FakeOpenAI(failure(500), failure(500), failure(500), chat("hi")) as fake:
        _, waits = ask_and_count_waits(fake, GREETING)
    assert len(waits) == 3
    assert waits == sorted(waits)
    assert 0 < waits[0] < waits[2] < 8


def test_a_wait_of_hours_is_left_to_the_user() -> None:
    with (
        FakeOpenAI(failure(429, Retry_After=str(LONGEST_WAIT_SECONDS + 1))) as fake,
        pytest.raises(ModelError, match="asks to wait 301 s"),
    ):
        ask(fake, GREETING)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        (failure(401), "OPENAI_API_KEY"),
        (failure(404), "--base-url"),
        (failure(400), "-M omit="),
        (failure(429, code="insufficient_quota"), "quota"),
    ],
)
def test_what_asking_again_cannot_help_is_not_asked_again(reply: Reply, remedy: str) -> None:
    with FakeOpenAI(reply) as fake, pytest.raises(ModelError, match=remedy) as caught:
        ask(fake, GREETING)
    assert len(fake.requests) == 1
    assert not caught.value.retryable


@pytest.mark.parametrize("status", [401, 500])
def test_the_key_is_in_no_error(status: int) -> None:
    with FakeOpenAI(failure(status, f"Incorrect API key provided: {KEY}")) as fake, pytest.raises(ModelError) as caught:
        ask(fake, GREETING, retries="0")
    assert KEY not in str(caught.value)
    assert "Incorrect API key provided: ***" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "fact"),
    [
        (ModelSpec("tiny"), "OPENAI_API_KEY"),
        (ModelSpec("", base_url="http://localhost"), "openai:NAME"),
        (ModelSpec("tiny", base_url="localhost:8000"), "write it whole"),
        (ModelSpec("tiny", {"retry": "3"}, "http://localhost"), "it knows retries"),
        (ModelSpec("tiny", {"retries": "-1"}, "http://localhost"), "whole number from 0"),
        (ModelSpec("tiny", {"timeout": "soon"}, "http://localhost"), "seconds"),
        (ModelSpec("tiny", {"omit": "model"}, "http://localhost"), "temperature"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_request(spec: ModelSpec, fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        connect(spec, {}, asyncio.sleep)
