"""The model speaks, turn by turn."""

from __future__ import annotations

from harness.errors import ModelError
from harness.nouns import Case, Completion, Conversation, Key, Problem, Request, Sampling, Turn
from harness.protocols import Model, TurnProtocol
from harness.seeds import derive_seed


async def converse(
    model: Model,
    protocol: TurnProtocol,
    problem: Problem,
    case: Case,
    key: Key,
    *,
    sampling: Sampling,
    max_new_tokens: int,
    seed: int,
) -> Conversation:
    """Put every turn of `case` to the model, each after the answers before it.

    `max_new_tokens` holds for turns whose problem names no budget. Raises ModelError when a turn got no answer.
    """
    turns: list[Turn] = []
    try:
        for index, prompt in enumerate(case.prompts):
            completion = await model.complete(
                Request(
                    prompt=protocol.prompt(case, turns),
                    max_new_tokens=problem.max_new_tokens[index] if problem.max_new_tokens else max_new_tokens,
                    sampling=sampling,
                    seed=derive_seed(seed, problem.id, case.id, key.sample, index),
                    stop=protocol.stop,
                    problem=problem.id,
                    case=case.id,
                    sample=key.sample,
                    turn=index,
                )
            )
            if not isinstance(completion, Completion):
                raise ModelError(
                    f"the adapter of {model.name} returned {type(completion).__name__}, not a Completion", retryable=False
                )
            if not isinstance(completion.text, str):
                kind = type(completion.text).__name__
                raise ModelError(f"the adapter of {model.name} returned a Completion whose text is {kind}", retryable=False)
            turns.append(
                Turn(
                    prompt=prompt,
                    raw=completion.text,
                    code=protocol.code(completion.text),
                    finish_reason=completion.finish_reason,
                    prompt_tokens=completion.prompt_tokens,
                    completion_tokens=completion.completion_tokens,
                    reasoning=completion.reasoning,
                )
            )
    finally:
        if (ended := getattr(model, "conversation_ended", None)) is not None:
            ended((problem.id, case.id, key.sample))
    return Conversation(key, tuple(turns))
