"""Reads problem files: one YAML file, one problem. Every error names the file, the line, the fact and what to do."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import ProblemError, UsageError
from harness.nouns import Case, Prints, Problem
from mtpb.schema import CaseSection, CompareSection, LimitsSection, ProblemFile, SourceSection, TurnSection, slug
from mtpb.template import fill, placeholders, python_source
from mtpb.yaml_loader import Document, Flaw, YamlError, load
from mtpb.yaml_loader import Path as NodePath
from sandbox.guest.values import Malformed, decode


@dataclass(frozen=True, slots=True)
class LoadedProblem:
    """A problem, and the file that says it."""

    path: Path
    content: ProblemFile
    problem: Problem
    lines: Mapping[NodePath, int]

    def place(self, *node: str | int) -> str:
        """`FILE:LINE` of a part of the file, such as `place("turns", 0, "prompt")`."""
        return f"{self.path}:{Document(None, self.lines).line(node)}"


def load_problem(path: Path) -> LoadedProblem:
    """Read one problem. Raises ProblemError with one line for each error."""
    return _load_all([path])[0]


def load_problems(*roots: Path) -> tuple[LoadedProblem, ...]:
    """Read problem files, and all `*.yaml` files below folders, ordered by id with numbers in it taken as numbers.

    Raises ProblemError with one line for each error of every file, and UsageError when there is nothing to read.
    """
    paths = [path for root in roots for path in _files(root)]
    return tuple(sorted(_load_all(paths), key=lambda loaded: natural_order(loaded.problem.id)))


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        if not root.exists():
            raise UsageError(f"{root}: there is no such file or folder")
        return [root]
    paths = sorted(root.rglob("*.yaml"))
    if stray := sorted(root.rglob("*.yml")):
        raise ProblemError(f"{stray[0]}:1: problem files end in .yaml; rename it")
    if not paths:
        raise UsageError(f"{root}: there is no .yaml file in this folder")
    return paths


def natural_order(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key by which `a-9` comes before `a-10`."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name) if part)


def _load_all(paths: Iterable[Path]) -> list[LoadedProblem]:
    problems: list[LoadedProblem] = []
    errors: list[str] = []
    first: dict[str, LoadedProblem] = {}
    for path in paths:
        try:
            loaded = _read(path)
        except YamlError as error:
            errors += [f"{path}:{flaw.line}: {flaw.message}" for flaw in error.flaws]
            continue
        earlier = first.setdefault(loaded.problem.id, loaded)
        if earlier is not loaded:
            errors.append(f"{loaded.place('id')}: {earlier.path} has the id {loaded.problem.id!r} too; rename one of the two")
        problems.append(loaded)
    if errors:
        raise ProblemError("\n".join(errors))
    return problems


def _read(path: Path) -> LoadedProblem:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise YamlError([Flaw(line, "this is not UTF-8; save the file as UTF-8")]) from None
    except OSError as error:
        raise YamlError([Flaw(1, f"the file cannot be read: {error.strerror}")]) from None
    document = load(text)
    try:
        content = ProblemFile.model_validate(document.value)
    except ValidationError as error:
        raise YamlError(sorted({_flaw(details, document) for details in error.errors()})) from None
    if flaws := [Flaw(document.line(node), message) for node, message in _disagreements(content, path)]:
        raise YamlError(sorted(flaws))
    return LoadedProblem(path, content, problem_of(content), document.lines)


# ---- from pydantic's words to ours ----

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "turns": TurnSection,
    "cases": CaseSection,
    "limits": LimitsSection,
    "compare": CompareSection,
    "source": SourceSection,
}


def _flaw(details: ErrorDetails, document: Document) -> Flaw:
    node = tuple(part for part in details["loc"] if part != "[key]")
    name = f"'{node[-1]}'" if node else "the file"
    context = details.get("ctx", {})
    given = details["input"]
    match details["type"]:
        case "missing":
            return Flaw(document.line(node[:-1]), f"{name} is missing; add it")
        case "extra_forbidden":
            known = list((_SECTIONS[str(node[0])] if len(node) > 1 else ProblemFile).model_fields)
            wrong = str(node[-1])
            near = difflib.get_close_matches(wrong, known, 1) or [key for key in known if key.startswith(wrong)]
            remedy = f"did you mean '{near[0]}'?" if near else f"known here are {', '.join(known)}"
            message = f"unknown key {name}; {remedy}"
        case "literal_error":
            message = f"{name} is {given!r}; write {context['expected']}"
        case "string_type" if isinstance(given, (int, float, bool)):
            message = f"{name} must be a string but {given!r} is none; put it in quotes"
        case "string_pattern_mismatch" if node[-1:] == ("id",):
            form = "letters, digits, '.', '_' and '-'" if "cases" in node else "category/name in small letters, digits and '-'"
            message = f"the id {given!r} is not well formed; write {form}"
        case "string_pattern_mismatch":
            message = f"the input name {name} is no plain identifier; write letters, digits and '_'"
        case "too_short" | "string_too_short":
            message = f"{name} is empty; write at least one" if node else "the file is empty"
        case "model_type" | "dict_type":
            message = f"{name} must be a mapping of keys to values, but is {_kind(given)}; write `key: value` lines"
        case "tuple_type" | "list_type":
            message = f"{name} must be a list, but is {_kind(given)}; write `- ` before each item"
        case _:
            message = f"{name} is {given!r}; {details['msg'][0].lower()}{details['msg'][1:]}"
    return Flaw(document.line(node), message)


def _kind(value: Any) -> str:
    return {type(None): "null", str: "a string", dict: "a mapping", list: "a list"}.get(type(value), f"{value!r}")


# ---- what a schema cannot say ----


def _disagreements(content: ProblemFile, path: Path) -> Iterable[tuple[NodePath, str]]:
    """Each with the node it is about."""
    yield from _id_flaws(content, path)
    if 0 < sum(turn.reference is not None for turn in content.turns) < len(content.turns):
        bare = next(index for index, turn in enumerate(content.turns) if turn.reference is None)
        yield ("turns", bare), f"turn {bare + 1} has no reference but others have; give every turn one, or none"
    asked: set[str] = set()
    referred: set[str] = set()
    broken = False
    for index, turn in enumerate(content.turns):
        for part, names in (("prompt", asked), ("reference", referred)):
            try:
                names.update(placeholders(getattr(turn, part) or ""))
            except ValueError as error:
                broken = True
                yield ("turns", index, part), f"turn {index + 1}: {error}"
    seen: dict[str, int] = {}
    for index, case in enumerate(content.cases):
        if case.id in seen:
            yield ("cases", index, "id"), f"case {case.id!r} stands twice, first as number {seen[case.id] + 1}; rename one"
        seen.setdefault(case.id, index)
        if not broken:
            yield from _input_flaws(case, index, asked, referred)
        for node, value in [(("inputs", name), value) for name, value in case.inputs.items()] + [(("expect",), case.expect)]:
            try:
                python_source(_plain_value(value))
            except ValueError as error:
                yield ("cases", index, *node), f"case {case.id!r}: {'.'.join(node)}: {error}"


def _id_flaws(content: ProblemFile, path: Path) -> Iterable[tuple[NodePath, str]]:
    directory, _, name = content.id.rpartition("/")
    if not directory and content.source is None:
        yield ("id",), f"the id {content.id!r} names no category; write '{slug(content.category)}/{name}'"
    elif directory and directory != slug(content.category):
        yield (
            ("id",),
            f"the id {content.id!r} disagrees with the category; write '{slug(content.category)}/{name}', or change it",
        )
    elif (found := path.absolute().with_suffix("").parts[-len(content.id.split("/")) :]) != tuple(content.id.split("/")):
        yield (
            ("id",),
            f"the id {content.id!r} disagrees with the path; write {'/'.join(found)!r}, or move it to {content.id}.yaml",
        )


def _input_flaws(case: CaseSection, index: int, asked: set[str], referred: set[str]) -> Iterable[tuple[NodePath, str]]:
    given = sorted(case.inputs)
    if missing := sorted((asked | referred) - case.inputs.keys()):
        yield ("cases", index), f"case {case.id!r}: inputs {given} do not fill {missing}; add them, or drop the placeholders"
    for name in given:
        if name in referred and name not in asked:
            message = f"input {name!r} is used by references only, so no model can know it; use it in a prompt"
        elif name not in asked:
            message = f"input {name!r} is used by no prompt; use it as {{{name}!r}}, or drop it"
        else:
            continue
        yield ("cases", index, "inputs", name), f"case {case.id!r}: {message}"


def _plain_value(tagged: Any) -> Any:
    """The Python value that a file's tagged one means. Raises ValueError."""
    try:
        value = decode(tagged)
    except Malformed as error:
        raise ValueError(f"{error}; a mapping that only looks like a tag is written {{dict: [[key, value], ...]}}") from None
    _refuse_odd(tagged)
    return value


def _refuse_odd(tagged: Any) -> None:
    """Raises ValueError for tagged values that can be read, but that nobody means to write."""
    if isinstance(tagged, dict):
        tag, body = next(iter(tagged.items())) if len(tagged) == 1 else ("", [])
        if tag == "object":
            raise ValueError("'object' stands for no value; write plain data, or {dict: [[object, ...]]}")
        if tag in ("set", "frozenset", "dict") and len(decode(tagged)) < len(body):
            raise ValueError(f"two {'keys' if tag == 'dict' else 'elements'} in {{{tag}: ...}} are equal; keep one")
    if isinstance(tagged, (dict, list)):
        for part in tagged.values() if isinstance(tagged, dict) else tagged:
            _refuse_odd(part)


# ---- the noun ----


def problem_of(content: ProblemFile) -> Problem:
    """The problem as the harness knows it: prompts and references filled, values decoded."""
    cases = tuple(_case(content, case) for case in content.cases)
    budget = content.limits.max_new_tokens
    return Problem(
        id=content.id,
        cases=cases,
        digest=_digest(content, cases),
        title=content.title,
        category=content.category,
        difficulty=content.difficulty or "",
        max_new_tokens=(budget,) * len(content.turns) if budget else (),
        cpu_seconds=content.limits.time_seconds,
        memory_mib=content.limits.memory_mib,
    )


def _case(content: ProblemFile, case: CaseSection) -> Case:
    inputs = {name: _plain_value(value) for name, value in case.inputs.items()}
    references = [turn.reference for turn in content.turns if turn.reference is not None]
    return Case(
        id=case.id,
        prompts=tuple(fill(turn.prompt, inputs) for turn in content.turns),
        check=Prints(_plain_value(case.expect), content.compare.rtol, content.compare.atol),
        # A block of YAML ends in a newline, which is no part of the code.
        reference=tuple(fill(reference, inputs).rstrip("\n") for reference in references) or None,
    )


def _digest(content: ProblemFile, cases: Sequence[Case]) -> str:
    """Over everything that can move a score; not over titles, notes and references."""
    canonical = {
        "id": content.id,
        "version": content.version,
        "limits": content.limits.model_dump(),
        "compare": content.compare.model_dump(),
        "cases": [
            {"id": case.id, "prompts": list(case.prompts), "inputs": section.inputs, "expect": section.expect}
            for case, section in zip(cases, content.cases, strict=True)
        ],
    }
    return hashlib.sha256(json.dumps(canonical, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
