"""How a HumanEval prompt is put to a model, and how the program is made of the answer. Pure."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from harness.extract import extract_code
from harness.nouns import Case, Message, Turn

# Chen et al. 2021 (arXiv:2107.03374), section 3.2: the function has ended where one of these begins.
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def stub(prompt: str) -> str:
    """The prompt as a whole program: its function does nothing."""
    return f"{prompt.rstrip()}\n    pass\n"


@dataclass(frozen=True, slots=True)
class CompletionProtocol:
    """The prompt is a text to continue; the answer is the function's body."""

    name: str = "completion"
    version: str = "1"
    stop: tuple[str, ...] = STOP

    def prompt(self, case: Case, turns: Sequence[Turn]) -> str:
        return case.prompts[0]

    def code(self, text: str) -> str:
        return text[: min((at for stop in STOP if (at := text.find(stop)) >= 0), default=len(text))]

    def program(self, prompt: str, code: str, entry_point: str) -> str:
        return prompt + code + "\n"


@dataclass(frozen=True, slots=True)
class ChatProtocol:
    """The prompt is a message; the answer's fenced code is the function, or only its body."""

    name: str = "chat-append"
    version: str = "1"
    stop: tuple[str, ...] = ()

    def prompt(self, case: Case, turns: Sequence[Turn]) -> tuple[Message, ...]:
        request = "Complete this Python function. Answer with the complete function in one fenced code block, and nothing else."
        return (Message("user", f"{request}\n\n```python\n{case.prompts[0].rstrip()}\n```"),)

    def code(self, text: str) -> str:
        return extract_code(text)

    def program(self, prompt: str, code: str, entry_point: str) -> str:
        """The prompt's imports and helpers stay in force: the function is defined after them, over the stub."""
        if _defines(code, entry_point):
            return f"{stub(prompt)}\n\n{code}\n"
        # A body alone; the extractor took its indentation away.
        return prompt + textwrap.indent(code, "    ") + "\n"


def _defines(code: str, name: str) -> bool:
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # A program that doesn't parse fails either way; a body alone is indented and doesn't parse either.
        return f"def {name}" in code
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in body)


PROTOCOLS: dict[str, CompletionProtocol | ChatProtocol] = {
    protocol.name: protocol for protocol in (CompletionProtocol(), ChatProtocol())
}
