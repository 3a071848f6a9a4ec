"""The `chat-append` turn protocol: each turn is a message, and the code of each answer is appended to the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.extract import VERSION, extract_code
from harness.nouns import Case, Message, Turn

PREAMBLE = "import numpy as np\n\n"

# It opens the first user message and is no message of its own: some chat templates know no system role.
INSTRUCTION = (
    "We write one Python program together, step by step. In each message I describe the next step. "
    "Answer with the code of that step only, in one fenced ```python block: do not repeat earlier code, do not explain. "
    "Your code is appended to the program, so it can use everything defined before; `import numpy as np` has been done.\n\n"
)


@dataclass(frozen=True, slots=True)
class ChatAppendProtocol:
    """See the module.

    Earlier answers are sent back as the code kept of them, in a fence: what the model reads is then what the program holds.
    """

    name: str = "chat-append"
    version: str = f"1+{VERSION}"  # this protocol's, and the extractor's
    stop: tuple[str, ...] = ()

    def prompt(self, case: Case, turns: Sequence[Turn]) -> tuple[Message, ...]:
        messages: list[Message] = []
        for prompt, turn in zip(case.prompts, turns, strict=False):
            messages += [Message("user", prompt), Message("assistant", f"```python\n{turn.code}\n```")]
        messages.append(Message("user", case.prompts[len(turns)]))
        messages[0] = Message("user", INSTRUCTION + messages[0].content)
        return tuple(messages)

    def code(self, text: str) -> str:
        return extract_code(text)

    def program(self, case: Case, turns: Sequence[Turn]) -> str:
        """The whole program: each turn's prompt as a comment, then its code."""
        parts = [
            "\n".join([*(f"# {line}" for line in prompt.splitlines()), turn.code]) + "\n"
            for prompt, turn in zip(case.prompts[: len(turns)], turns, strict=True)
        ]
        return PREAMBLE + "\n".join(parts)
