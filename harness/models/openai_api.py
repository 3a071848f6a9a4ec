"""Models behind an OpenAI-compatible server: `openai:NAME`, with --base-url for servers other than OpenAI's.

Options (-M): `retries` after a failed request (5); `timeout`, seconds for one whole answer (120); `max_tokens_field`, what the
chat endpoint calls the token budget (max_completion_tokens at OpenAI, max_tokens elsewhere); `omit`, request fields that the
model does not support, separated by commas. The key is OPENAI_API_KEY; a server named by --base-url or OPENAI_BASE_URL may
need none.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, UsageError
from harness.models.options import check_options, need, seconds, whole_number
from harness.models.stop import end_of_stop
from harness.nouns import Completion, FinishReason, Request
from harness.protocols import Model, ModelSpec

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPTIONS = ("retries", "timeout", "max_tokens_field", "omit")
OMITTABLE = ("temperature", "top_p", "seed", "stream_options")
OPENAI_HOST = "api.openai.com"
LONGEST_WAIT_SECONDS = 300.0
WORTH_ANOTHER_TRY = (408, 409, 425, 429)

FINISH_REASONS = {"length": FinishReason.LENGTH, "content_filter": FinishReason.REFUSED}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say."""

    retries: int
    timeout_seconds: float
    max_tokens_field: str
    omit: frozenset[str]


def create(spec: ModelSpec) -> Model:
    """A model behind an OpenAI-compatible server; --base-url names the server, OPENAI_API_KEY the key."""
    return connect(spec, os.environ, asyncio.sleep)


def connect(spec: ModelSpec, environment: Mapping[str, str], sleep: Callable[[float], Awaitable[object]]) -> OpenAIModel:
    """The model, before the first request; `sleep` waits between requests. Raises UsageError when something is missing."""
    openai = need("openai", "openai", "openai")
    if not spec.name:
        raise UsageError("--model openai: name the model, as in --model openai:NAME")
    check_options("openai", spec.options, OPTIONS)
    omit = frozenset(field for field in spec.options.get("omit", "").split(",") if field)
    if unknown := sorted(omit - set(OMITTABLE)):
        raise UsageError(f"-M omit={','.join(unknown)}: what can be left out is {', '.join(OMITTABLE)}")
    key = environment.get("OPENAI_API_KEY")
    base_url = spec.base_url or environment.get("OPENAI_BASE_URL") or None
    if not key and base_url is None:
        raise UsageError(f"--model openai:{spec.name}: set OPENAI_API_KEY, or name another server with --base-url")
    if base_url is not None and re.match(r"https?://[^/]", base_url) is None:
        raise UsageError(f"--base-url {base_url}: write it whole, as in http://localhost:8000/v1")
    timeout = seconds(spec.options, "timeout", 120.0)
    connections = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=spec.max_connections, max_keepalive_connections=spec.max_connections
    )
    client = openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=base_url,
        timeout=timeout,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=connections),
    )
    field = "max_completion_tokens" if client.base_url.host == OPENAI_HOST else "max_tokens"
    retries = whole_number(spec.options, "retries", 5, least=0)
    return OpenAIModel(spec.name, client, Settings(retries, timeout, spec.options.get("max_tokens_field", field), omit), sleep)


class GarbageError(Exception):
    """The server's answer is not what its API promises."""


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise GarbageError(f"{what} is {type(value).__name__}, not a text")
    return value


def _count(usage: object, what: str) -> int | None:
    value = getattr(usage, what, None)
    return value if isinstance(value, int) else None


def read_chat(answer: Any) -> Completion:
    """The completion in a chat answer. Raises GarbageError when there is none."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise GarbageError("no choices in it")
    message = getattr(choices[0], "message", None)
    if message is None:
        raise GarbageError("no message in it")
    refusal = _text(getattr(message, "refusal", None), "the refusal")
    # Servers that show their model's reasoning call it one or the other.
    reasoning = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    usage = getattr(answer, "usage", None)
    return Completion(
        text=_text(getattr(message, "content", None), "the content") or refusal,
        finish_reason=FinishReason.REFUSED if refusal else _finish_reason(choices[0]),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        reasoning=_text(reasoning, "the reasoning"),
    )


def _finish_reason(choice: Any) -> FinishReason:
    return FINISH_REASONS.get(getattr(choice, "finish_reason", ""), FinishReason.STOP)


def backoff_seconds(failures: int, seed: int) -> float:
    """How long to wait after so many failures: doubling from half a second to eight, spread so that not all ask at once."""
    return min(0.5 * 2.0 ** (failures - 1), 8.0) * (0.75 + 0.5 * (seed % 1000) / 1000)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """What a Retry-After header asks for, given in seconds or as a date; None when there is none that can be read."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        date = email.utils.parsedate_tz(text)
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - now)


class OpenAIModel:
    """Chat messages go to the chat endpoint, texts to the legacy completions endpoint."""

    protocols = ("chat-append", "completion")
    deterministic = False
    neutral_options = frozenset({"retries", "timeout"})

    def __init__(self, name: str, client: AsyncOpenAI, settings: Settings, sleep: Callable[[float], Awaitable[object]]) -> None:
        self.name = f"openai:{name}"
        self._model = name
        self._client = client
        self._settings = settings
        self._sleep = sleep

    async def complete(self, request: Request) -> Completion:
        """At most `retries` + 1 requests, then a ModelError. A server that says how long to wait is heeded."""
        # The SDK's own retries end where an answer begins; cut and senseless answers count against the same bound here.
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout_seconds):
                    return await self._ask(request)
            except Exception as error:
                failures += 1
                failure = self._failure(error)
                if not failure.retryable:
                    raise failure from None
                if failures > self._settings.retries:
                    raise ModelError(f"{failure} (given up after {failures} requests)") from None
                wait = self._wait_seconds(error, failures, request.seed)
                if wait > LONGEST_WAIT_SECONDS:
                    raise ModelError(f"{failure}; it asks to wait {wait:.0f} s: run the same command then") from None
            await self._sleep(wait)

    async def aclose(self) -> None:
        await self._client.close()

    # ---- one request ----

    async def _ask(self, request: Request) -> Completion:
        if isinstance(request.prompt, str):
            return await self._complete_text(request, request.prompt)
        messages: Any = [{"role": message.role, "content": message.content} for message in request.prompt]
        fields = self._fields(request, self._settings.max_tokens_field)
        # Stop strings are not sent: the endpoint leaves them out of its answer and does not say which one it met.
        return read_chat(await self._client.chat.completions.create(messages=messages, **fields))

    async def _complete_text(self, request: Request, prompt: str) -> Completion:
        fields = self._fields(request, "max_tokens")
        if "stream_options" not in self._settings.omit:
            fields["stream_options"] = {"include_usage": True}
        made = Completion("")
        finished = False
        # Streamed, so that stop strings can be looked for here and the rest be spared; see `_ask` for why they are not sent.
        chunks = await self._client.completions.create(prompt=prompt, stream=True, **fields)
        async with chunks:
            async for chunk in chunks:
                if (usage := getattr(chunk, "usage", None)) is not None:
                    made = replace(
                        made,
                        prompt_tokens=_count(usage, "prompt_tokens"),
                        completion_tokens=_count(usage, "completion_tokens"),
                    )
                for choice in getattr(chunk, "choices", None) or ():
                    new = _text(getattr(choice, "text", None), "the text")
                    if (end := end_of_stop(made.text, new, request.stop)) is not None:
                        return replace(made, text=(made.text + new)[:end])
                    made = replace(made, text=made.text + new)
                    if getattr(choice, "finish_reason", None) is not None:
                        finished = True
                        made = replace(made, finish_reason=_finish_reason(choice))
        if not finished:
            raise GarbageError("it broke off, or was no stream of completions")
        return made

    def _fields(self, request: Request, max_tokens_field: str) -> dict[str, Any]:
        fields = {
            "model": self._model,
            max_tokens_field: request.max_new_tokens,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "seed": request.seed,
        }
        return {field: value for field, value in fields.items() if field not in self._settings.omit}

    # ---- failures ----

    def _failure(self, error: Exception) -> ModelError:
        """The same failure as a ModelError: what happened, where, what to do, and whether asking again can help."""
        import openai

        url = self._client.base_url
        place = (
            f"{self.name} at {url.scheme}://{url.host}:{url.port}" if url.port else f"{self.name} at {url.scheme}://{url.host}"
        )
        match error:
            case openai.APIStatusError():
                return self._status_failure(place, error)
            case openai.APITimeoutError() | TimeoutError():
                return ModelError(f"{place}: no answer within {self._settings.timeout_seconds:g} s; give -M timeout= more")
            case openai.APIConnectionError():
                return ModelError(f"{place}: cannot be reached: {self._clean(str(error.__cause__ or error))}")
            case _:
                # Among them what the HTTP library raises when the connection is cut in the middle of an answer.
                said = f"{type(error).__name__}: {self._clean(str(error))}"
                return ModelError(f"{place}: the answer made no sense: {said}; does this API live there?")

    def _status_failure(self, place: str, error: Any) -> ModelError:
        said = f"{place}: status {error.status_code}: {self._clean(error.message)}"
        match error.status_code:
            case 401 | 403:
                return ModelError(f"{said}; check OPENAI_API_KEY", retryable=False)
            case 404:
                return ModelError(f"{said}; check the model's name, --base-url, and --protocol", retryable=False)
            case 429 if error.code == "insufficient_quota":
                return ModelError(f"{said}; the account has no quota left", retryable=False)
            case status if status >= 500 or status in WORTH_ANOTHER_TRY:
                return ModelError(said)
            case _:
                return ModelError(f"{said}; a field the model does not know is left out with -M omit=", retryable=False)

    def _clean(self, text: str) -> str:
        """A server's words in one short line; servers repeat the key they refuse."""
        line = " ".join(text.replace(self._client.api_key, "***").split())
        return line if len(line) <= 300 else line[:300] + "..."

    def _wait_seconds(self, error: Exception, failures: int, seed: int) -> float:
        response = getattr(error, "response", None)
        asked = retry_after_seconds(response.headers, time.time()) if response is not None else None
        return backoff_seconds(failures, seed) if asked is None else asked
