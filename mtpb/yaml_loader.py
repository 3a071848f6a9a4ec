"""YAML read by the core schema of YAML 1.2, strictly: what looks like a string to a reader is one.

`no`, `on`, `12:30` and `2020-01-01` are strings, `1e3` is a float. Refused, each with what to write instead: duplicate keys,
keys that are no strings, anchors, aliases, tags, numbers two readers could read differently (`012`, `1_000`), `.nan`, `.inf`,
missing values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]

MAX_DEPTH = 64

_NULL = re.compile(r"~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*")
_REMEDIES = {  # for what the parser says most often; its words are the same in both of its builds
    "mapping values are not allowed": "quote a text that holds ': ', or put it on lines of its own under `|`",
    "cannot start any token": "quote a text that begins with this character; indent by spaces",
    "found unexpected end of stream": "close the quotes",
    "expected ',' or ']'": "close the bracket",
    "expected ',' or '}'": "close the brace; quote texts that hold ',' or braces",
}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Flaw(NamedTuple):
    """One thing wrong with a file: the fact, and what to do."""

    line: int  # from 1
    message: str


class YamlError(Exception):
    """The text was not read; `flaws` says why, in order of lines."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(f"line {flaw.line}: {flaw.message}" for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says, and on which line it says it."""

    value: Any
    lines: Mapping[Path, int]  # of every node: where its key is, or where it begins when it has none

    def line(self, path: Path) -> int:
        """The line of the node at `path`, or of the nearest node around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def load(text: str) -> Document:
    """Read one YAML document. Raises YamlError with all that is wrong with its values, or with its first error of syntax."""
    if (found := _UNPRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise YamlError([Flaw(line, f'the character U+{ord(found[0]):04X} cannot stand in YAML; write "\\x..", or remove it')])
    try:
        builder = _Builder(yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
        value = builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        facts = " ".join(part for part in (error.context, error.problem) if part)
        line = min(mark.line + 1 if mark else 1, len(text.splitlines()))  # the end of the text may count as a line of its own
        remedy = next((remedy for problem, remedy in _REMEDIES.items() if problem in facts), "mend or quote what stands there")
        raise YamlError([Flaw(line, f"this is not YAML: {facts}; {remedy}")]) from None
    if builder.flaws:
        raise YamlError(sorted(builder.flaws))
    return Document(value, builder.lines)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Builder:
    """Turns the parser's events into plain values; gathers flaws and lines on the way."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events
        self.flaws: list[Flaw] = []
        self.lines: dict[Path, int] = {}

    def document(self) -> Any:
        start = [next(self.events) for _ in range(2)]
        if isinstance(start[1], yaml.StreamEndEvent):
            raise YamlError([Flaw(1, "the file is empty")])
        value = self.node(next(self.events), ())
        next(self.events)
        if not isinstance(end := next(self.events), yaml.StreamEndEvent):
            self.flaw(end, "a second document begins here; keep one document a file")
        return value

    def flaw(self, event: yaml.Event, message: str) -> None:
        self.flaws.append(Flaw(_line(event), message))

    def node(self, event: yaml.Event, path: Path) -> Any:
        self.lines.setdefault(path, _line(event))
        if len(path) > MAX_DEPTH:
            raise YamlError([Flaw(_line(event), f"values are nested more than {MAX_DEPTH} deep")])
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self.flaw(event, "anchors and aliases (&name, *name) are not read; write the value out")
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag is not None:
            self.flaw(event, f"the tag {event.tag} is not read; write a one-key mapping instead, such as {{tuple: [1, 2]}}")
        match event:
            case yaml.ScalarEvent():
                return self.scalar(event)
            case yaml.SequenceStartEvent():
                return self.sequence(path)
            case yaml.MappingStartEvent():
                return self.mapping(path)
        return None

    def sequence(self, path: Path) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self.node(event, (*path, len(values))))
        return values

    def mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            flaws = len(self.flaws)
            key = self.node(event, (*path, "?"))
            self.lines.pop((*path, "?"))
            if not isinstance(key, str):
                if len(self.flaws) == flaws:
                    self.flaw(event, f"the key {key!r} is not a string; quote it, or write {{dict: [[key, value], ...]}}")
                self.node(next(self.events), (*path, "?"))
                continue
            if key in values:
                self.flaw(event, f"the key {key!r} stands twice, first on line {self.lines[*path, key]}; keep one")
                self.node(next(self.events), (*path, "?"))
                continue
            self.lines[*path, key] = _line(event)
            values[key] = self.node(next(self.events), (*path, key))
        return values

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if event.style:
            if any("\ud800" <= character <= "\udfff" for character in text):
                self.flaw(event, "a lone surrogate is no character; remove it")
            return text
        try:
            return plain(text)
        except ValueError as error:
            self.flaw(event, str(error))
            return None


def plain(text: str) -> Any:
    """The value of a scalar written without quotes. Raises ValueError that says what to write instead."""
    if not text:
        raise ValueError("the value is missing; write null if None is meant, '' if an empty string is")
    if _NULL.fullmatch(text):
        return None
    if (found := _BOOL.fullmatch(text)) is not None:
        return found[1] is not None
    if _INT.fullmatch(text):
        return _int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text} is too large for a float; write {{float: inf}} if that is meant")
        return value
    if (found := _NOT_FINITE.fullmatch(text)) is not None:
        name = "nan" if found[2].lower() == "nan" else ("-inf" if found[1] == "-" else "inf")
        raise ValueError(f"{text} is not read; write {{float: {name}}}")
    if _UNDERSCORED.fullmatch(text):
        raise ValueError(f"{text} may be read as a number or as a string; write {text.replace('_', '')}, or '{text}' in quotes")
    return text


def _int(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits.startswith("0"):
        bare = digits.lstrip("0") or "0"
        octal = f", 0o{bare} for octal" if set(bare) <= set("01234567") else ""
        raise ValueError(
            f"{text} begins with a zero, which readers take for different numbers; "
            f"write {'-' if text[0] == '-' else ''}{bare}{octal}, or '{text}' in quotes"
        )
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"an integer of {len(digits)} digits is too long; write {{int: '0x...'}}") from None
