"""A good problem file, and a row of the published set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOOD = """\
id: string/count-vowels
version: 1
title: Count the vowels
category: string
difficulty: easy
turns:
  - prompt: Store the string {text!r} in `s`.
    reference: s = {text!r}
  - prompt: Count the vowels in `s` and store the number in `n`.
    reference: |
      n = sum(letter in "aeiou" for letter in s)
  - prompt: Print `n`.
    reference: print(n)
cases:
  - {id: word, inputs: {text: hello}, expect: 2}
  - {id: none, inputs: {text: rhythm}, expect: 0}
  - {id: empty, inputs: {text: ''}, expect: 0}
  - {id: all, inputs: {text: aeiou}, expect: 5}
  - {id: twice, inputs: {text: aa}, expect: 2}
"""


ROW = {
    "prompts": ['Assign "{A}" to "a".', "Print {{a}} of {B}."],
    "inputs": [{"A": [1, "x"], "B": 1.5}, {"A": "no", "B": True}],
    "outputs": [12, {"set": [None]}],
    "max_gen_length": 128,
    "category": "dict",
    "name": "A name",
    "description": "",
    "id": "7",
}


def row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), "utf-8")
    return path
