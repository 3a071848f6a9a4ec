"""The run directory: facts are appended and never rewritten, judgements are derived and can be deleted at will.

run.json          what was asked, written once
samples.jsonl     one line per key: every turn, raw and cut
executions.jsonl  what the box reported
results.jsonl     verdicts, in key order (derived)
scores.json       metrics (derived)
"""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import MtpbError, UsageError
from harness.nouns import Conversation, FinishReason, Key, Turn
from harness.tasks import sha256
from sandbox import Execution, Program

Json = dict[str, Any]


STARTED = {".lock", "samples.jsonl", "executions.jsonl", "run.json.new"}  # what a run killed at its very start leaves


class TornLine(UserWarning):
    """The last line of a file was cut short by a kill; it is dropped and made again."""


def _dump(record: Mapping[str, Any]) -> str:
    # ASCII output, because models write lone surrogates, which UTF-8 cannot hold.
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


def read_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """(line number from 1, record) of a file of JSON lines. A torn last line is dropped with a TornLine warning.

    Raises MtpbError naming file and line when any other line is not a JSON object.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            whole = line.endswith(b"\n")
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict) and whole:
                yield number, record
            elif not whole:
                warnings.warn(TornLine(f"{path}:{number}: the last line is cut short; dropped"), stacklevel=2)
            elif line.strip():
                raise damaged(f"{path}:{number}: not a JSON object")


def damaged(fact: str) -> MtpbError:
    """The error for a file that no run of ours can have written so."""
    return MtpbError(f"{fact}; the file is damaged: restore it, or begin anew with --fresh")


class Appender:
    """Appends JSON lines; each is handed to the operating system whole before `append` returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._drop_torn_line()

    def _drop_torn_line(self) -> None:
        size = os.fstat(self._descriptor).st_size
        end = size
        while end > 0:
            start = max(0, end - 65_536)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)

    def append(self, record: Mapping[str, Any]) -> None:
        line = memoryview((_dump(record) + "\n").encode("ascii"))
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        os.close(self._descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: a reader sees the old file or the new one, whole."""
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def key_to_json(key: Key) -> Json:
    return key._asdict()


def key_from_json(record: Mapping[str, Any]) -> Key:
    return Key(**record)


def sample_record(conversation: Conversation, problem_digest: str) -> Json:
    """What samples.jsonl holds of a conversation: the turns, and a hash of every stage so far."""
    turns = conversation.turns
    return {
        "key": key_to_json(conversation.key),
        "sha256": {
            "problem": problem_digest,
            "prompts": sha256("\0".join(turn.prompt for turn in turns)),
            "raw": sha256("\0".join(turn.raw for turn in turns)),
            "code": sha256("\0".join(turn.code for turn in turns)),
        },
        "turns": [asdict(turn) for turn in turns],
    }


def conversation_from_record(record: Mapping[str, Any]) -> Conversation:
    """The inverse of `sample_record`."""
    turns = (Turn(**{**turn, "finish_reason": FinishReason(turn["finish_reason"])}) for turn in record["turns"])
    return Conversation(key_from_json(record["key"]), tuple(turns))


def execution_record(key: Key, program: Program, execution: Execution) -> Json:
    """What executions.jsonl holds: the program whole, and all the box reported."""
    return {
        "key": key_to_json(key),
        "sha256": {"program": sha256(program.source)},
        "source": program.source,
        "execution": execution.to_json(),
    }


class RunDirectory:
    """One run's files, locked against a second writer while open. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._samples: Appender | None = None
        self._executions: Appender | None = None

    def __enter__(self) -> Self:
        check_is_run(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written ({error.strerror}); use another -o") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(f"{self.path}: another process is working on this run; wait for it, or use another -o") from None
        self._samples = Appender(self.path / "samples.jsonl")
        self._executions = Appender(self.path / "executions.jsonl")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for appender in (self._samples, self._executions):
            if appender is not None:
                appender.close()
        os.close(self._lock)

    # ---- settings ----

    def settings(self) -> Json | None:
        """run.json, or None when nothing was run here yet. Raises MtpbError when it cannot be read."""
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise MtpbError(f"{path}: not JSON ({error}); restore it, or begin anew with --fresh") from None
        if not isinstance(record, dict):
            raise MtpbError(f"{path}: not a JSON object; restore it, or begin anew with --fresh")
        return record

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        write_atomically(self.path / "run.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    # ---- facts ----

    def append_sample(self, record: Mapping[str, Any]) -> None:
        if self._samples is None:
            raise RuntimeError("the run directory is not open")
        self._samples.append(record)

    def append_execution(self, record: Mapping[str, Any]) -> None:
        if self._executions is None:
            raise RuntimeError("the run directory is not open")
        self._executions.append(record)

    def samples(self) -> Iterator[tuple[Key, Json]]:
        """All samples, in the order they were appended. Raises MtpbError when a key comes twice."""
        return self._records("samples.jsonl")

    def executions(self) -> Iterator[tuple[Key, Json]]:
        """All executions, in the order they were appended. Raises MtpbError when a key comes twice."""
        return self._records("executions.jsonl")

    def _records(self, name: str) -> Iterator[tuple[Key, Json]]:
        seen: set[Key] = set()
        path = self.path / name
        for number, record in read_lines(path):
            try:
                key = key_from_json(record["key"])
                hash(key)
            except (KeyError, TypeError):
                raise damaged(f"{path}:{number}: no key of a sample") from None
            if key in seen:
                raise damaged(f"{path}:{number}: {key} is there twice")
            seen.add(key)
            yield key, record

    # ---- judgements ----

    def write_results(self, records: Sequence[Mapping[str, Any]]) -> None:
        write_atomically(self.path / "results.jsonl", "".join(_dump(record) + "\n" for record in records))

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        write_atomically(self.path / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")


def check_is_run(path: Path) -> None:
    """Raises UsageError when `path` holds something that is no run: a run is never mixed into other files."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be a run directory ({error.strerror}); use another -o") from None
    if "run.json" not in names and not names <= STARTED:
        raise UsageError(f"{path}: holds files, and no run.json, so it is no run directory; use another -o")


def set_aside(path: Path) -> Path | None:
    """Rename an existing run directory out of the way of a fresh one; says where it went. Nothing is deleted.

    Raises UsageError when `path` is no run, or cannot be renamed.
    """
    check_is_run(path)
    if not path.exists():
        return None
    whole = path.resolve()
    number = 1
    while (aside := whole.with_name(f"{whole.name}.{number}")).exists():
        number += 1
    try:
        if Path.cwd().is_relative_to(whole):
            raise UsageError(f"{path}: the current folder is in it, so --fresh cannot set it aside; use another -o")
        whole.rename(aside)
    except OSError as error:
        raise UsageError(f"{path}: cannot be set aside ({error.strerror}); use another -o") from None
    return path.with_name(aside.name)
