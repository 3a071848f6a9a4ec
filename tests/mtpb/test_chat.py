"""The chat-append protocol."""

from __future__ import annotations

from harness.nouns import Case, Prints, Turn
from mtpb.chat import INSTRUCTION, ChatAppendProtocol

CASE = Case("c", ("First.", "Second:\nof two lines.", "Third."), Prints(1))


def turn(prompt: str, code: str) -> Turn:
    return Turn(prompt, f"Sure! Here it is:\n```python\n{code}\n```\nAnything else?", code)


def test_the_first_message_instructs_and_asks() -> None:
    assert ChatAppendProtocol().prompt(CASE, []) == (("user", f"{INSTRUCTION}First."),)


def test_earlier_answers_are_sent_back_as_the_code_kept_of_them() -> None:
    sent = ChatAppendProtocol().prompt(CASE, [turn("First.", "x = 1"), turn("Second:\nof two lines.", "")])
    assert [message.role for message in sent] == ["user", "assistant", "user", "assistant", "user"]
    assert [message.content for message in sent[1:]] == [
        "```python\nx = 1\n```",
        "Second:\nof two lines.",
        "```python\n\n```",
        "Third.",
    ]


def test_the_program_holds_the_import_it_promised_and_each_prompt_as_comments() -> None:
    turns = [turn("", "x = 1"), turn("", "y = 2"), turn("", "print(x)")]
    assert ChatAppendProtocol().program(CASE, turns) == (
        "import numpy as np\n\n# First.\nx = 1\n\n# Second:\n# of two lines.\ny = 2\n\n# Third.\nprint(x)\n"
    )


def test_the_code_of_an_answer_is_what_stands_in_its_fences() -> None:
    assert ChatAppendProtocol().code("Sure:\n```python\nx = 1\n```\nand\n```\ny = 2\n```\n```text\nno\n```") == "x = 1\n\ny = 2"


def test_the_version_names_the_extractor_too() -> None:
    assert ChatAppendProtocol().version == "1+1"
