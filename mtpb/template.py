"""Prompts with placeholders: `{name!r}`, `{name!s}`, doubled braces, and nothing else of `str.format`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_PIECE = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)!(?P<form>[rs])\}|(?P<wrong>\{[^{}]*\}?|\})")
_BARE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def placeholders(template: str) -> frozenset[str]:
    """The names that `template` wants filled. Raises ValueError for a brace that is neither doubled nor a placeholder."""
    names = set()
    for piece in _PIECE.finditer(template):
        if wrong := piece["wrong"]:
            if (bare := _BARE.fullmatch(wrong)) is not None:
                name = bare[1]
                raise ValueError(f"{wrong}: say how to write it: {{{name}!r}} as Python source, {{{name}!s}} as text")
            raise ValueError(f"{wrong}: a placeholder is {{name!r}} or {{name!s}}; a literal brace is doubled, {{{{ or }}}}")
        if piece["name"]:
            names.add(piece["name"])
    return frozenset(names)


def fill(template: str, inputs: Mapping[str, Any]) -> str:
    """`template` with its placeholders filled: `!r` as Python source, `!s` as text. Raises KeyError for a missing input."""

    def piece_text(piece: re.Match[str]) -> str:
        if piece["brace"]:
            return piece["brace"][0]
        value = inputs[piece["name"]]
        if piece["form"] == "r":
            return python_source(value)
        return value if isinstance(value, str) else _text(value)

    placeholders(template)
    return _PIECE.sub(piece_text, template)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, float) else python_source(value)


def python_source(value: Any) -> str:
    """`repr`, except that sets are written sorted and nan and infinities as source: the same text in every process."""
    text = repr(value)
    match value:
        case float() if not math.isfinite(value):
            text = f"float({str(value)!r})"
        case list():
            text = f"[{', '.join(map(python_source, value))}]"
        case tuple():
            text = f"({', '.join(map(python_source, value))}{',' if len(value) == 1 else ''})"
        case set() | frozenset() if value:
            text = f"{{{', '.join(sorted(map(python_source, value)))}}}"
            text = f"frozenset({text})" if isinstance(value, frozenset) else text
        case dict():
            text = f"{{{', '.join(f'{python_source(key)}: {python_source(item)}' for key, item in value.items())}}}"
    return text
