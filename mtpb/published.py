"""The published problem set: fetched or imported into the user's data folder as files of our own format.

`import_rows` keeps all that a released row says: `published_row` gives the same row back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import string
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from harness.errors import ProblemError, UsageError
from harness.nouns import Problem
from mtpb.benchmark import MtpbBenchmark
from mtpb.problem_file import load_problem, load_problems
from mtpb.schema import ProblemFile
from mtpb.template import fill, placeholders
from mtpb.yaml_writer import dump
from sandbox.guest.values import decode, encode

NAME = "mtpb-2022"
ADDRESS = "https://raw.githubusercontent.com/salesforce/CodeGen/main/codegen1/benchmark/mtpb.jsonl"
SHA256 = "3ab79ddb160f484a63491330ba72204930d56cc946f7c0c5fb469622a941f89c"
DIGEST = "c56904c7e55fdcb1f249cee2628e16e71d8c3a7f859607e06a567fd1e40f3933"  # of the benchmark that the released file makes
MAX_BYTES = 4 * 1024 * 1024
DEFAULT_GEN_LENGTH = 256  # the released sampler's own, for rows that name none
REMEDY = f"run `mtpb problems fetch {NAME}`, or `mtpb problems import FILE` with a copy of the released mtpb.jsonl"

_ROW_FIELDS = {"id", "name", "description", "category", "prompts", "inputs", "outputs", "max_gen_length"}
_NOTICE = f"""\
The problems in this folder were converted from the released file mtpb.jsonl of the Multi-Turn Programming Benchmark,
{ADDRESS}
Copyright (c) 2022, Salesforce.com, Inc. All rights reserved. Licensed under the BSD 3-Clause License;
its text: https://github.com/salesforce/CodeGen/blob/main/LICENSE.txt
Changed: the form (YAML instead of JSON lines, {{A!s}} instead of {{A}} in prompts); nothing else.
"""


def data_folder() -> Path:
    """Where imported sets live: `MTPB_DATA_DIR`, or the user's data folder of this platform."""
    if chosen := os.environ.get("MTPB_DATA_DIR"):
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("mtpb")


def set_folder(data: Path) -> Path:
    """The folder of the published set below a data folder."""
    return data / "problems" / NAME


@dataclass(frozen=True, slots=True)
class NotInstalled(MtpbBenchmark):
    """The published set before it is fetched: grades samples, which carry their own expected values, but has no problems."""

    folder: Path = Path()

    @property
    def digest(self) -> str:
        """As of the released set, so that fetching it later changes nothing about samples graded before."""
        return DIGEST

    def problems(self) -> Sequence[Problem]:
        raise UsageError(f"the published set {NAME} is not installed (looked in {self.folder}); {REMEDY}")


def installed() -> MtpbBenchmark:
    """The task `mtpb-2022`. Asking for its problems raises UsageError, with how to get them, when they are not there."""
    folder = set_folder(data_folder())
    if not folder.is_dir():
        return NotInstalled(NAME, (), folder=folder)
    return MtpbBenchmark(NAME, load_problems(folder))


# ---- getting it ----


def fetch(data: Path, address: str = ADDRESS, sha256: str = SHA256, timeout_seconds: float = 60.0) -> Path:
    """Download the released file, check it, and import it. Writes nothing unless the checksum is right.

    Raises UsageError when the address does not answer, or answers with another file.
    """
    if not address.startswith(("https://", "http://")):
        raise UsageError(f"{address}: not a web address; write https://...")
    try:
        with urllib.request.urlopen(address, timeout=timeout_seconds) as response:  # noqa: S310 - checked above
            content: bytes = response.read(MAX_BYTES + 1)
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        raise UsageError(f"{address}: not fetched: {getattr(error, 'reason', error)}; try again, or {REMEDY}") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{address}: more than {MAX_BYTES} bytes, which is not the released file; nothing was written")
    if (got := hashlib.sha256(content).hexdigest()) != sha256:
        raise UsageError(f"{address}: sha256 is {got}, expected {sha256}; nothing was written")
    return import_rows(content.decode(), address, set_folder(data))


def import_file(path: Path, destination: Path) -> Path:
    """Convert a file of published rows into a folder of problem files, which replaces `destination`. Returns that folder.

    Raises ProblemError, and then leaves `destination` as it was.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProblemError(f"{path}:1: this is not UTF-8; give the released mtpb.jsonl") from None
    return import_rows(text, str(path), destination)


def import_rows(text: str, place: str, destination: Path) -> Path:
    """As `import_file`, from text that came from `place`."""
    if not text.strip():
        raise ProblemError(f"{place}:1: no problems in this file; give the released mtpb.jsonl")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{destination.parent}: cannot be made ({error.strerror}); MTPB_DATA_DIR names another place"
        ) from None
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as made:
        fresh = Path(made) / destination.name
        fresh.mkdir()
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                problem = _problem_of_line(line, f"{place}:{number}")
                path = fresh / f"{problem['id']}.yaml"
                if path.exists():
                    raise ProblemError(
                        f"{place}:{number}: the id {problem['id']!r} stands twice; keep one row for each problem"
                    )
                path.write_text(dump(problem), "utf-8")
                try:
                    load_problem(path)
                except ProblemError as error:
                    facts = str(error).split("\n")[0].removeprefix(f"{path}:").partition(": ")[2]
                    raise ProblemError(f"{place}:{number}: problem {problem['id']!r}: {facts}") from None
        (fresh / "LICENSE").write_text(_NOTICE, "utf-8")
        if destination.exists():
            shutil.move(destination, Path(made) / "before")
        shutil.move(fresh, destination)
    return destination


# ---- a row and its file ----


def _problem_of_line(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{place}: this is not a JSON line: {error}; give the released mtpb.jsonl") from None
    if not isinstance(row, dict) or not _ROW_FIELDS - {"max_gen_length"} <= row.keys() <= _ROW_FIELDS:
        fields = ", ".join(sorted(_ROW_FIELDS))
        raise ProblemError(
            f"{place}: this is not a row of the published set, whose fields are {fields}; give the released mtpb.jsonl"
        )
    try:
        return problem_of_row(row)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ProblemError(f"{place}: problem {row['id']!r}: {error}; give the released mtpb.jsonl") from None


def problem_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The problem file of a released row, as plain data. Raises ValueError for what the format cannot say."""
    if not re.fullmatch("[0-9]+", row["id"]):
        raise ValueError("the id is not a number in a string")
    if len(row["outputs"]) < len(row["inputs"]):
        raise ValueError(f"{len(row['inputs'])} inputs but {len(row['outputs'])} outputs")
    prompts = [_our_template(prompt) for prompt in row["prompts"]]
    used = frozenset[str]().union(*map(placeholders, prompts))
    source: dict[str, Any] = {"set": NAME}
    if "max_gen_length" in row:
        source["max_gen_length"] = row["max_gen_length"]
    if surplus := row["outputs"][len(row["inputs"]) :]:
        source["surplus_outputs"] = [encode(value) for value in surplus]
    cases = []
    for number, (inputs, output) in enumerate(zip(row["inputs"], row["outputs"], strict=False), 1):
        encoded = {name: encode(value) for name, value in inputs.items()}
        kept = {name: value for name, value in encoded.items() if name in used}
        cases.append({"id": f"c{number}", "inputs": kept, "expect": encode(output)})
        if len(kept) < len(encoded):
            source.setdefault("unused_inputs", {})[f"c{number}"] = {n: v for n, v in encoded.items() if n not in used}
        for ours, theirs in zip(prompts, row["prompts"], strict=True):
            if fill(ours, inputs) != theirs.format(**inputs):
                raise ValueError(f"case c{number}: the prompt {theirs!r} does not survive the change of form")
    return {
        "id": row["id"],
        "version": 1,
        "title": row["name"],
        "description": row["description"],
        "category": row["category"],
        "source": source,
        "turns": [{"prompt": prompt} for prompt in prompts],
        "cases": cases,
        "limits": {"max_new_tokens": row.get("max_gen_length", DEFAULT_GEN_LENGTH)},
    }


def published_row(problem: ProblemFile) -> dict[str, Any]:
    """The released row that a file was made of. Raises ValueError for a file that was not imported."""
    if problem.source is None or problem.source.set != NAME:
        raise ValueError(f"{problem.id} is not of the published set")
    unused = problem.source.unused_inputs
    row: dict[str, Any] = {
        "prompts": [re.sub(r"\{(\w+)!s\}", r"{\1}", turn.prompt) for turn in problem.turns],
        "inputs": [
            {name: decode(value) for name, value in (case.inputs | unused.get(case.id, {})).items()} for case in problem.cases
        ],
        "outputs": [decode(value) for value in [*(case.expect for case in problem.cases), *problem.source.surplus_outputs]],
        "category": problem.category,
        "name": problem.title,
        "description": problem.description,
        "id": problem.id,
    }
    if problem.source.max_gen_length is not None:
        row["max_gen_length"] = problem.source.max_gen_length
    return row


def _our_template(prompt: str) -> str:
    """A template of `str.format` in our form. Raises ValueError for what is more than a bare name."""
    pieces = []
    for literal, name, form, conversion in string.Formatter().parse(prompt):
        pieces.append(literal.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            if not name.isidentifier() or form or conversion:
                raise ValueError(f"the prompt {prompt!r} has a placeholder that is more than a name")
            # str.format writes a plain value with no format specification as str() does.
            pieces.append(f"{{{name}!s}}")
    return "".join(pieces)
