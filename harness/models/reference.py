from __future__ import annotations
from harness.nouns import Completion


class Reference:
    name = "reference"
    protocols = ("completion", "chat-append")
    deterministic = True
    digest = ""

    def __init__(self, problems):
        self.c = {(p.id, c.id): c.reference for p in problems for c in p.cases}

    async def complete(self, r):
        return Completion(self.c[r.problem, r.case][r.turn])


def create(spec):
    return Reference(spec.problems)
