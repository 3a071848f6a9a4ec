"""`mtpb models`."""

from __future__ import annotations

from click.testing import CliRunner

from harness.cli.models_commands import models
from harness.errors import UsageError


def test_models_are_listed_with_what_they_are() -> None:
    listed = CliRunner().invoke(models, ["list"], catch_exceptions=False).output.splitlines()
    assert [line.split()[0] for line in listed[:-1]] == sorted(line.split()[0] for line in listed[:-1])
    assert any(line.startswith("reference ") and line.endswith("The problems' own reference code.") for line in listed)
    assert listed[-1].startswith("./file.py:Class")


def test_weights_of_an_unknown_name_are_refused() -> None:
    outcome = CliRunner().invoke(models, ["pull", "gpt"])
    assert isinstance(outcome.exception, UsageError)
    assert "there are: smollm2" in str(outcome.exception)
