"""The `completion` turn protocol, as published with the benchmark: one Python file that the model continues.

The file begins with the preamble. A turn adds its prompt as a comment line, the code kept of the answer, and a blank line.
An answer is cut where it goes on beyond the turn; the rules of the cut are numbered in `cut`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.nouns import Case, Turn

PREAMBLE = "# Import libraries.\n\nimport numpy as np\n\n"

_PRINT = re.compile(r"^print", re.MULTILINE)
_DEF = re.compile(r"^def", re.MULTILINE)
_END = re.compile(r"""^\#|<\|endoftext\|>|^'''|^\"{3}|\n\n\n""", re.MULTILINE)

# After the end of any of these the cut is already decided: each contains a place where rule 3 cuts. An adapter may use any
# subset; the likeliest come first.
STOP = ("\n#", "\n\n\n", '\n"""', "\n'''", "<|endoftext|>")


def cut(text: str) -> str:
    """The part of an answer that belongs to its turn.

    1. Cut before the second line that begins with `print`.
    2. Of what is left, cut before the second line that begins with `def`.
    3. Of what is left, cut at the earliest of: a line that begins with `#`, with three single or three double quotes;
       `<|endoftext|>`; three newlines in a row.
    """
    for start in (_PRINT, _DEF):
        places = [found.start() for found in start.finditer(text)]
        if len(places) > 1:
            text = text[: places[1]]
    end = _END.search(text)
    return text[: end.start()] if end else text


def text_of(exchanges: Iterable[tuple[str, str]]) -> str:
    """The file after these (prompt, code) pairs."""
    return PREAMBLE + "".join(f"# {prompt}\n{code}\n\n" for prompt, code in exchanges)


@dataclass(frozen=True, slots=True)
class CompletionProtocol:
    """See the module."""

    name: str = "completion"
    version: str = "1"
    stop: tuple[str, ...] = STOP

    def prompt(self, case: Case, turns: Sequence[Turn]) -> str:
        return f"{text_of((turn.prompt, turn.code) for turn in turns)}# {case.prompts[len(turns)]}\n"

    def code(self, text: str) -> str:
        return cut(text)

    def program(self, case: Case, turns: Sequence[Turn]) -> str:
        """The whole program of a conversation."""
        return text_of(zip(case.prompts[: len(turns)], (turn.code for turn in turns), strict=True))
