"""Judgements from stored facts: verdicts, results.jsonl and scores.json. Needs no model and no sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.grade import grade, silence
from harness.nouns import Check, Fault, Key, Outcome, Verdict
from harness.protocols import Rules
from harness.score import Score, result_record, score
from harness.store import RunDirectory, conversation_from_record, damaged
from sandbox import Execution

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


def rules_name(rules: Rules) -> str:
    """Rules as they are named in files: a new version is another name."""
    return f"{rules.name}/{rules.version}"


def derive(
    store: RunDirectory,
    checks: Mapping[Key, Check],
    rules: Rules,
    ks: Sequence[int],
    problems_of: int,
    faults: Mapping[Key, Fault],
) -> tuple[Score, list[Fault]]:
    """Grade every key of `checks`, in order; write results.jsonl and scores.json; the score, and the faults there are."""
    graded = outcomes(checks, rules, store, faults)
    derived = score(graded, ks, problems_of)
    store.write_results([result_record(index, key, outcome) for index, (key, outcome) in enumerate(graded.items())])
    store.write_scores({"rules": rules_name(rules), "score": derived.to_json()})
    return derived, [outcome for outcome in graded.values() if isinstance(outcome, Fault)]


def outcomes(checks: Mapping[Key, Check], rules: Rules, store: RunDirectory, faults: Mapping[Key, Fault]) -> dict[Key, Outcome]:
    """The outcome of every key of `checks`, in order, from stored facts; a key without an execution is a Fault."""
    silent: dict[Key, Verdict] = {}
    sampled: set[Key] = set()
    for key, record in store.samples():
        sampled.add(key)
        try:
            if "turns" in record and (verdict := silence(conversation_from_record(record))) is not None:
                silent[key] = verdict
        except _MALFORMED as error:
            raise damaged(f"{store.path / 'samples.jsonl'}: {key}: no conversation ({error!r})") from None
    graded: dict[Key, Outcome] = {}
    for key, record in store.executions():
        if key not in checks:
            continue
        try:
            execution = Execution.from_json(record["execution"])
        except _MALFORMED as error:
            raise damaged(f"{store.path / 'executions.jsonl'}: {key}: no execution ({error!r})") from None
        graded[key] = grade(checks[key], execution, rules, silent.get(key))
    missing = {
        key: faults.get(key, Fault("sandbox", "not executed yet") if key in sampled else Fault("model", "no answer yet"))
        for key in checks
        if key not in graded
    }
    return {key: graded.get(key) or missing[key] for key in checks}
