"""Opinion: what the rules make of what happened. Pure; needs no sandbox."""

from __future__ import annotations

from harness.nouns import Check, Conversation, FinishReason, Outcome, Reason, Verdict
from harness.protocols import Rules
from sandbox import Ending, Execution

_REASONS = {
    Ending.RAISED: Reason.ERROR,
    Ending.EXITED: Reason.ERROR,
    Ending.TIMED_OUT: Reason.TIMEOUT,
    Ending.MEMORY: Reason.MEMORY,
    Ending.OUTPUT_LIMIT: Reason.OUTPUT_LIMIT,
    Ending.KILLED: Reason.CRASH,
}


def ended_early(execution: Execution) -> Verdict | None:
    """The verdict on a program that did not finish; None for one that did. For rules that want programs to finish."""
    if execution.ending is Ending.FINISHED:
        return None
    return Verdict(_REASONS[execution.ending], execution.detail)


def grade(check: Check, execution: Execution, rules: Rules, silence: Verdict | None = None) -> Outcome:
    """The verdict of `rules`; when it is no pass, `silence` (see below) says more than what an empty program did."""
    verdict = rules.judge(check, execution)
    return verdict if verdict.passed or silence is None else silence


def silence(conversation: Conversation) -> Verdict | None:
    """The verdict on a model that refused a turn or gave no code in any; None when it spoke."""
    for number, turn in enumerate(conversation.turns, 1):
        if turn.finish_reason is FinishReason.REFUSED:
            return Verdict(Reason.REFUSED, f"turn {number}")
    if not any(turn.code.strip() for turn in conversation.turns):
        return Verdict(Reason.NO_CODE)
    return None
