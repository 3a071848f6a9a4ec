"""problems/schema.json, which editors read, says what the loader says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.cli import main
from mtpb.yaml_loader import load

PROBLEMS = Path(str(files("problems")))
SCHEMA = json.loads((PROBLEMS / "schema.json").read_text(encoding="utf-8"))
FILES = sorted(PROBLEMS.rglob("*.yaml"))


def names(schema: Any) -> set[str]:
    """All property names anywhere in a schema."""
    if isinstance(schema, list):
        return {name for part in schema for name in names(part)}
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | {name for part in schema.values() for name in names(part)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bundled_problems_fit_the_schema_their_first_line_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../schema.json\n")
    jsonschema.validate(load(text).value, SCHEMA)


def test_an_unknown_key_does_not_fit() -> None:
    value = load(FILES[0].read_text(encoding="utf-8")).value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**value, "solution": "x"}, SCHEMA)


def test_the_committed_schema_has_the_keys_of_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", "schema"]) == 0
    assert names(json.loads(capsys.readouterr().out)) == names(SCHEMA)
