"""What a program's process said of itself, checked, and joined with what the kernel says of its end."""

from __future__ import annotations

import json
import os
import signal
from typing import Any, NamedTuple

from sandbox.guest.separation import Ended
from sandbox.guest.values import Malformed, clean, decode

MAX_REPORT = 8 << 20
MAX_COUNT = 1 << 53
_ENDINGS = frozenset({"finished", "raised", "exited", "memory"})
_CLOSE_TO_LIMIT = 0.9


class Report(NamedTuple):
    """The part of an Execution that only the program's own process knows."""

    ending: str
    detail: str
    fields: dict[str, Any]


def read_report(data: bytes) -> Report | None:
    """The report, or None when `data` is not exactly one well-formed report."""
    if not data.endswith(b"\n") or data.count(b"\n") != 1 or len(data) > MAX_REPORT:
        return None
    try:
        report = json.loads(data, parse_constant=_refuse)
        return _checked(report)
    except (ValueError, TypeError, KeyError, RecursionError, Malformed):
        return None


def _refuse(name: str) -> None:
    raise ValueError(name)


def _checked(report: dict[str, Any]) -> Report:
    ending, detail = report.pop("ending"), report.pop("detail")
    _require(ending in _ENDINGS and type(detail) is str)
    count, printed = report["print_count"], report["last_print"]
    _require(type(count) is int and 0 <= count <= MAX_COUNT)
    fields: dict[str, Any] = {"print_count": count, "last_print": None}
    if printed is not None:
        _require(type(printed["argument_count"]) is int and type(printed["text"]) is str and type(printed["arguments"]) is list)
        for value in printed["arguments"]:
            decode(value)
        decode(printed["first_at_end"])
        fields["last_print"] = {
            "argument_count": printed["argument_count"],
            "arguments": printed["arguments"],
            "first_at_end": printed["first_at_end"],
            "text": clean(printed["text"]),
        }
    if "last_expression" in report:
        decode(report["last_expression"])
        fields["last_expression"] = report["last_expression"]
        fields["printed_in_last_expression"] = bool(report["printed_in_last_expression"])
    return Report(ending, clean(detail)[:2000], fields)


def _require(fact: bool) -> None:
    if not fact:
        raise ValueError


def ending_of(ended: Ended, report: Report | None, limits: dict[str, Any], served: bool) -> tuple[str, str]:
    """Ending and detail of a program that the supervisor did not stop; `served`: it had nothing more to do when it ended."""
    signal_number = os.WTERMSIG(ended.status) if os.WIFSIGNALED(ended.status) else 0
    if ended.cpu_seconds >= limits["cpu_seconds"] or signal_number == signal.SIGXCPU:
        return "timed_out", "cpu"
    if served and report is not None:
        return report.ending, report.detail
    if signal_number:
        # Without memory, C code that does not look at what malloc returns dies by a signal; so does whom the kernel chooses.
        out_of_memory = ended.peak_memory_mib >= _CLOSE_TO_LIMIT * limits["memory_mib"]
        return ("memory" if out_of_memory else "killed"), f"signal {signal_number}"
    exit_status = os.WEXITSTATUS(ended.status)
    if report is not None and exit_status == 0:
        return report.ending, report.detail
    return "exited", f"exit status {exit_status}"
