"""A GGUF model in this process, by llama.cpp: `llamacpp:PATH.gguf`.

Options (-M): `slots`, conversations answered at once (8, and never more than --max-connections); `context`, tokens of history
and answer that each may have (4096); `threads` (one per physical core).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import ModelError, UsageError
from harness.models.options import check_options, need, refuse_base_url, whole_number
from harness.models.stop import end_of_stop
from harness.nouns import Completion, FinishReason, Request, Sampling
from harness.protocols import Model, ModelSpec

OPTIONS = ("slots", "context", "threads")
CACHE_MIB = 1024  # histories of conversations that have no slot at the moment


def create(spec: ModelSpec) -> Model:
    """A GGUF file in this process, by llama.cpp."""
    if not spec.name:
        raise UsageError("--model llamacpp: name the file, as in --model llamacpp:PATH.gguf")
    path = Path(spec.name)
    return open_gguf(path, f"llamacpp:{path.name}", spec)


def open_gguf(path: Path, name: str, spec: ModelSpec) -> LlamaCppModel:
    """Loads the weights. Raises UsageError when the file or an option is wrong, or xllamacpp is not installed."""
    refuse_base_url(name, spec)
    check_options(name, spec.options, OPTIONS)
    slots = min(spec.max_connections, whole_number(spec.options, "slots", 8))
    context = whole_number(spec.options, "context", 4096, least=64)
    threads = whole_number(spec.options, "threads", physical_cores())
    if not path.is_file():
        raise UsageError(f"--model {name}: there is no file {path}")
    with path.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    xllamacpp = load_library(name)
    try:
        server = xllamacpp.Server(server_parameters(xllamacpp, path, slots, context, threads))
    except RuntimeError as error:
        raise UsageError(f"--model {name}: llama.cpp cannot load {path}: is it a whole GGUF file? ({error})") from None
    return LlamaCppModel(name, digest, server, slots, context)


def load_library(adapter: str) -> ModuleType:
    """xllamacpp, its threads made patient. Raises UsageError when it is not installed."""
    with patient_threads():
        return need("xllamacpp", "local", adapter)


def server_parameters(xllamacpp: ModuleType, path: Path, slots: int, context: int, threads: int) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = slots
    parameters.n_ctx = slots * context
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.cache_ram_mib = CACHE_MIB
    parameters.verbosity = 0
    # llama.cpp listens on a loopback port whether we want it or not; nobody else shall use it.
    parameters.api_keys = [secrets.token_hex(16)]
    return parameters


def physical_cores() -> int:
    """Cores this process may run on, hyper-threads counted once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    cores = set()
    for cpu in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(((topology / "physical_package_id").read_text(), (topology / "core_id").read_text()))
        except OSError:
            return len(usable)
    return len(cores)


@contextmanager
def patient_threads() -> Iterator[None]:
    """OpenMP reads this when its library is loaded, at the first import of xllamacpp.

    Its threads otherwise wait by spinning. When programs run in the box beside the model, a spinning thread takes the core
    from the one it waits for: measured on two cores, 4 tokens/s instead of 75.
    """
    chosen = os.environ.get("OMP_WAIT_POLICY")
    os.environ["OMP_WAIT_POLICY"] = chosen or "passive"
    try:
        yield
    finally:
        if chosen is None:
            del os.environ["OMP_WAIT_POLICY"]


def sampler_settings(sampling: Sampling) -> dict[str, Any]:
    """llama.cpp's samplers for what was asked, and nothing else: temperature, then top-p of what it made, as in the paper.

    llama.cpp's own order is the reverse, with top-k, min-p and penalties by default. min-p is here for speed alone: it spares
    sorting the whole vocabulary, dropping only tokens with less than 1e-10 of the likeliest one's chance at this temperature.
    """
    return {
        "samplers": ["min_p", "temperature", "top_p"],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "min_p": 1e-10**sampling.temperature if 0 < sampling.temperature < 3 else 0.0,
    }


@dataclass(slots=True)
class _Stream:
    """What has come of an answer so far; `feed` returns True when no more is wanted."""

    stop: tuple[str, ...]
    cancelled: threading.Event
    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    error: Mapping[str, Any] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    unexpected: list[str] = field(default_factory=list)

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        # An exception in a callback is lost in llama.cpp's thread, so it is kept and raised by the caller.
        try:
            return self.cancelled.is_set() or self._take(chunk)
        except (KeyError, IndexError, TypeError) as error:
            self.unexpected.append(f"{type(error).__name__}: {error}")
            return True

    def _take(self, chunk: Mapping[str, Any]) -> bool:
        if "error" in chunk:
            self.error = chunk["error"]
            return True
        if "timings" in chunk:
            self.prompt_tokens = chunk["timings"]["cache_n"] + chunk["timings"]["prompt_n"]
            self.completion_tokens = chunk["timings"]["predicted_n"]
        choice = chunk["choices"][0]
        delta = choice.get("delta", {})
        self.reasoning += delta.get("reasoning_content") or ""
        new = choice.get("text") or delta.get("content") or ""
        if new and (end := end_of_stop(self.text, new, self.stop)) is not None:
            self.text = (self.text + new)[:end]
            self.finish_reason = FinishReason.STOP
            return True
        self.text += new
        if choice.get("finish_reason") is not None:
            self.finish_reason = FinishReason.LENGTH if choice["finish_reason"] == "length" else FinishReason.STOP
        return False


class LlamaCppModel:
    """A model loaded by llama.cpp, answering `slots` conversations at once, each with its history cached.

    Not deterministic: what is answered together is computed together, and rounds differently.
    """

    protocols = ("completion", "chat-append")
    deterministic = False
    neutral_options = frozenset(OPTIONS)  # a context too small is a fault, and never another answer

    def __init__(self, name: str, digest: str, server: Any, slots: int, context: int) -> None:
        self.name = name
        self.digest = digest
        self._server = server
        self._context = context
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="llamacpp")

    async def complete(self, request: Request) -> Completion:
        """Raises ModelError when the history and the answer do not fit in the context."""
        stream = _Stream(request.stop, threading.Event())
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._stream, request, stream)
        finally:
            stream.cancelled.set()
        return self._completion(request, stream)

    def _stream(self, request: Request, stream: _Stream) -> None:
        settings: dict[str, Any] = {
            "max_tokens": request.max_new_tokens,
            "seed": request.seed,
            "stream": True,
            "cache_prompt": True,
            "timings_per_token": True,
            **sampler_settings(request.sampling),
        }
        # Stop strings are looked for here: llama.cpp leaves them out of its answer and does not say which one it met.
        if isinstance(request.prompt, str):
            self._server.handle_completions({"prompt": request.prompt, **settings}, stream.feed)
        else:
            messages = [{"role": message.role, "content": message.content} for message in request.prompt]
            self._server.handle_chat_completions({"messages": messages, **settings}, stream.feed)

    def _completion(self, request: Request, stream: _Stream) -> Completion:
        if stream.error is not None:
            raise self._refusal(stream.error)
        if stream.unexpected or stream.finish_reason is None:
            raise ModelError(f"{self.name}: llama.cpp ended its answer early {stream.unexpected or ''}".rstrip())
        made = stream.completion_tokens
        if stream.finish_reason is FinishReason.LENGTH and made is not None and made < request.max_new_tokens:
            raise ModelError(
                f"{self.name}: a prompt of {stream.prompt_tokens} tokens and {request.max_new_tokens} new ones do not fit in a "
                f"context of {self._context}; give -M context= more",
                retryable=False,
            )
        return Completion(stream.text, stream.finish_reason, stream.prompt_tokens, made, stream.reasoning)

    def _refusal(self, error: Mapping[str, Any]) -> ModelError:
        if error.get("type") == "exceed_context_size_error":
            return ModelError(
                f"{self.name}: a prompt of {error.get('n_prompt_tokens')} tokens does not fit in a context of {self._context}; "
                "give -M context= more",
                retryable=False,
            )
        return ModelError(f"{self.name}: llama.cpp: {error.get('message', error)}", retryable=error.get("code") != 400)

    async def aclose(self) -> None:
        """Ends answers in work, and frees the weights."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._server = None
