"""Answers with the problems' own reference code: shows that problems, box and grading agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from harness.errors import ModelError, UsageError
from harness.models.options import check_options, refuse_base_url, refuse_name
from harness.nouns import Completion, Problem, Request
from harness.protocols import Model, ModelSpec


class ReferenceModel:
    """Gives each turn's reference code: plain as a completion, in a fence in a chat."""

    name = "reference"
    protocols = ("completion", "chat-append")
    deterministic = True

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._code = {
            (problem.id, case.id): case.reference
            for problem in problems
            for case in problem.cases
            if case.reference is not None
        }
        known = sorted((*key, *code) for key, code in self._code.items())
        self.digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()

    async def complete(self, request: Request) -> Completion:
        turns = self._code.get((request.problem, request.case), ())
        if request.turn >= len(turns):
            raise ModelError(
                f"problem {request.problem}, case {request.case}: no reference code for turn {request.turn + 1}",
                retryable=False,
            )
        code = turns[request.turn]
        return Completion(code if isinstance(request.prompt, str) else f"```python\n{code}\n```\n")


def create(spec: ModelSpec) -> Model:
    """The problems' own reference code."""
    refuse_name("reference", spec)
    refuse_base_url("reference", spec)
    check_options("reference", spec.options, ())
    if spec.problems and not any(case.reference is not None for problem in spec.problems for case in problem.cases):
        raise UsageError("--model reference: these problems have no reference code; choose another model or another task")
    return ReferenceModel(spec.problems)
