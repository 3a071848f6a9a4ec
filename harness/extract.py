"""The code of a chat answer, for every benchmark the same. Pure; a change of what is kept changes `VERSION`."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings

VERSION = "1"  # part of the version of every protocol that uses it

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^\n`]*$")
_PYTHON = {"", "py", "py3", "python", "python3"}


def extract_code(text: str) -> str:
    """The code of a chat answer.

    All fenced blocks marked as Python or not marked at all, joined; a block that is never closed runs to the end. Without any
    block: the whole text when it is Python, else nothing. Line ends become newlines, and a block's common indent goes.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks: list[str] = []
    fenced = False
    block: list[str] = []
    mark = ""
    wanted = False
    for line in lines:
        fence = _FENCE.match(line)
        if not mark and fence:
            fenced, mark, wanted, block = True, fence["mark"], fence["language"].lower() in _PYTHON, []
        elif mark and line.strip().startswith(mark) and not line.strip().strip(mark[0]):
            blocks += [_dedented(block)] * wanted
            mark = ""
        elif mark:
            block.append(line)
    if mark and wanted:
        blocks.append(_dedented(block))
    if fenced:
        return "\n\n".join(filter(None, blocks))
    whole = _dedented(lines)
    return whole if _is_python(whole) else ""


def _dedented(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n")


def _is_python(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a model writes may be Python and yet deserve a SyntaxWarning
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
