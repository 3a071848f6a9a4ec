"""Answers as an earlier run was answered: `--model replay -M run=DIR`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ModelError, UsageError
from harness.models.options import check_options, refuse_base_url, refuse_name
from harness.nouns import Completion, FinishReason, Key, Request, Turn
from harness.protocols import Model, ModelSpec
from harness.store import conversation_from_record, key_from_json, read_lines

Answers = Mapping[tuple[str, str, int], tuple[Turn, ...]]


class ReplayModel:
    """Gives the recorded answer of (problem, case, sample, turn), whatever the prompt; speaks the protocol of the record."""

    name = "replay"
    deterministic = True

    def __init__(self, path: Path, answers: Answers, protocol: str, digest: str) -> None:
        self.protocols = (protocol,)
        self.digest = digest
        self._path = path
        self._answers = answers

    async def complete(self, request: Request) -> Completion:
        turns = self._answers.get(request.conversation, ())
        if request.turn >= len(turns):
            raise ModelError(
                f"{self._path}: no answer for problem {request.problem}, case {request.case}, sample {request.sample}, "
                f"turn {request.turn + 1}; the recorded run did not come so far",
                retryable=False,
            )
        turn = turns[request.turn]
        return Completion(
            turn.raw, FinishReason(turn.finish_reason), turn.prompt_tokens, turn.completion_tokens, turn.reasoning
        )


def _record_of(record: Mapping[str, Any], place: str) -> tuple[Key, tuple[Turn, ...]]:
    try:
        return key_from_json(record["key"]), conversation_from_record(record).turns
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{place}: not a recorded conversation ({type(error).__name__}: {error})") from None


def read_answers(path: Path) -> tuple[Answers, str]:
    """(answers, name of the protocol) of a samples.jsonl. Raises UsageError when there are none, or not of one kind."""
    answers: dict[tuple[str, str, int], tuple[Turn, ...]] = {}
    kinds: set[tuple[str, str, str]] = set()
    for number, record in read_lines(path):
        key, turns = _record_of(record, f"{path}:{number}")
        if key.variant == "":
            kinds.add((key.task, key.mode, key.protocol))
            answers[key.problem, key.case, key.sample] = turns
    if len(kinds) != 1:
        raise UsageError(f"{path}: a replay needs samples of one task, mode and protocol; there are {sorted(kinds) or 'none'}")
    return answers, next(iter(kinds))[2]


def create(spec: ModelSpec) -> Model:
    """The answers of an earlier run; needs -M run=DIR."""
    refuse_name("replay", spec)
    refuse_base_url("replay", spec)
    check_options("replay", spec.options, ("run",))
    if "run" not in spec.options:
        raise UsageError("--model replay: name the run directory with -M run=DIR")
    path = Path(spec.options["run"]) / "samples.jsonl"
    if not path.is_file():
        raise UsageError(f"-M run={spec.options['run']}: there is no {path}; name a directory made by `mtpb run` or `generate`")
    answers, protocol = read_answers(path)
    return ReplayModel(path, answers, protocol, hashlib.sha256(path.read_bytes()).hexdigest())
