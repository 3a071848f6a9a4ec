"""Models that need no weights: reference, replay, batches."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import ModelError, UsageError
from harness.models.batching import from_batch_function
from harness.models.registry import open_model
from harness.nouns import (
    Case,
    Completion,
    Conversation,
    FinishReason,
    Key,
    Message,
    Prints,
    Problem,
    Request,
    Sampling,
    Turn,
)
from harness.store import sample_record

KEY = Key("tiny", "multi", "chat-append", "p", "c", 0)
TURNS = (
    Turn("Let x be 1.", "x = 1\nmore", "x = 1", FinishReason.LENGTH, 3, 4, "hm"),
    Turn("Print x.", "print(x)", "print(x)"),
)


def request(
    prompt: str | tuple[Message, ...] = "", problem: str = "p", case: str = "c", sample: int = 0, turn: int = 0
) -> Request:
    return Request(prompt, 16, Sampling(), seed=1, problem=problem, case=case, sample=sample, turn=turn)


def problem(reference: tuple[str, ...] | None) -> Problem:
    return Problem("p", (Case("c", ("Let x be 1.", "Print x."), Prints(1), reference),), "digest")


def test_reference_answers_each_turn_with_its_own_code() -> None:
    model = open_model("reference", problems=[problem(("x = 1", "print(x)"))])
    assert asyncio.run(model.complete(request(turn=1))) == Completion("print(x)")


def test_reference_answers_a_chat_in_a_fence() -> None:
    model = open_model("reference", problems=[problem(("x = 1",))])
    assert asyncio.run(model.complete(request((Message("user", "?"),)))).text == "```python\nx = 1\n```\n"


def test_reference_of_problems_without_reference_code_is_refused() -> None:
    with pytest.raises(UsageError, match="no reference code"):
        open_model("reference", problems=[problem(None)])


def test_reference_of_a_turn_without_code_is_a_failure_that_lasts() -> None:
    model = open_model("reference", problems=[problem(("x = 1",))])
    with pytest.raises(ModelError, match="problem p, case c: no reference code for turn 2") as caught:
        asyncio.run(model.complete(request(turn=1)))
    assert not caught.value.retryable


def recorded(folder: Path, *keys: Key) -> Path:
    lines = (json.dumps(sample_record(Conversation(key, TURNS), "digest")) + "\n" for key in keys)
    (folder / "samples.jsonl").write_text("".join(lines))
    return folder


def test_replay_answers_as_the_record_does(tmp_path: Path) -> None:
    model = open_model("replay", options={"run": str(recorded(tmp_path, KEY))})
    assert asyncio.run(model.complete(request())) == Completion("x = 1\nmore", FinishReason.LENGTH, 3, 4, "hm")
    assert asyncio.run(model.complete(request(turn=1))).text == "print(x)"


def test_replay_speaks_the_protocol_of_the_record(tmp_path: Path) -> None:
    assert getattr(open_model("replay", options={"run": str(recorded(tmp_path, KEY))}), "protocols", None) == ("chat-append",)


@pytest.mark.parametrize("absent", [{"problem": "q"}, {"case": "d"}, {"sample": 1}, {"turn": 2}])
def test_replay_of_what_was_not_recorded_is_a_failure_that_lasts(tmp_path: Path, absent: dict[str, str | int]) -> None:
    model = open_model("replay", options={"run": str(recorded(tmp_path, KEY))})
    with pytest.raises(ModelError, match=r"no answer for problem \w, case \w, sample \d, turn \d") as caught:
        asyncio.run(model.complete(request(**absent)))  # type: ignore[arg-type]
    assert not caught.value.retryable


def test_replay_leaves_out_diagnosis_samples(tmp_path: Path) -> None:
    model = open_model("replay", options={"run": str(recorded(tmp_path, KEY, KEY._replace(sample=1, variant="whole")))})
    with pytest.raises(ModelError):
        asyncio.run(model.complete(request(sample=1)))


def test_replay_forgets_a_torn_last_line(tmp_path: Path) -> None:
    path = recorded(tmp_path, KEY, KEY._replace(sample=1)) / "samples.jsonl"
    path.write_text(path.read_text()[:-20])
    with pytest.warns(UserWarning, match="cut short"):
        model = open_model("replay", options={"run": str(tmp_path)})
    assert asyncio.run(model.complete(request())).text == "x = 1\nmore"


def test_replay_of_two_protocols_at_once_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path, KEY, KEY._replace(protocol="completion"))
    with pytest.raises(UsageError, match="one task, mode and protocol"):
        open_model("replay", options={"run": str(tmp_path)})


def test_replay_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*samples\.jsonl"):
        open_model("replay", options={"run": str(tmp_path)})


def test_replay_of_other_json_lines_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"task_id": 1}\n')
    with pytest.raises(UsageError, match=r"samples\.jsonl:1: not a recorded conversation"):
        open_model("replay", options={"run": str(tmp_path)})


def test_pending_requests_are_answered_in_batches_and_in_order() -> None:
    batches: list[int] = []

    def shout(requests: Sequence[Request]) -> list[Completion]:
        batches.append(len(requests))
        return [Completion(str(each.prompt).upper()) for each in requests]

    async def talk() -> list[Completion]:
        model = from_batch_function("shout", shout, max_batch=3)
        try:
            return await asyncio.gather(*(model.complete(request(prompt)) for prompt in "abcdefgh"))
        finally:
            await model.aclose()

    assert [completion.text for completion in asyncio.run(talk())] == list("ABCDEFGH")
    assert batches == [3, 3, 2]


def test_what_comes_during_a_batch_goes_into_the_next() -> None:
    started, go_on = threading.Event(), threading.Event()
    batches: list[int] = []

    def slow(requests: Sequence[Request]) -> list[Completion]:
        batches.append(len(requests))
        started.set()
        go_on.wait(60)
        return [Completion("") for _ in requests]

    async def talk() -> None:
        model = from_batch_function("slow", slow, max_batch=8)
        first = asyncio.create_task(model.complete(request()))
        await asyncio.to_thread(started.wait)
        others = asyncio.gather(model.complete(request()), model.complete(request()))
        await asyncio.sleep(0)
        go_on.set()
        await first
        await others
        await model.aclose()

    asyncio.run(talk())
    assert batches == [1, 2]


def test_a_batch_function_that_fails_or_miscounts_fails_its_batch_only() -> None:
    def moody(requests: Sequence[Request]) -> list[Completion]:
        if requests[0].prompt == "fail":
            raise ModelError("no")
        return [Completion("fine")] * (2 if requests[0].prompt == "miscount" else 1)

    async def talk() -> list[Completion | BaseException]:
        model = from_batch_function("moody", moody, max_batch=1)
        prompts = ("fail", "miscount", "go")
        answers = await asyncio.gather(*(model.complete(request(prompt)) for prompt in prompts), return_exceptions=True)
        await model.aclose()
        return answers

    failed, miscounted, fine = asyncio.run(talk())
    assert isinstance(failed, ModelError)
    assert isinstance(miscounted, ModelError)
    assert "1 requests got 2 answers" in str(miscounted)
    assert fine == Completion("fine")
