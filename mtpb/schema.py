"""What a problem file holds, as pydantic models.

Values of inputs and of `expect` are tagged JSON (see `sandbox.guest.values`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Category = Literal["array", "string", "math", "algorithm", "data science", "dict", "class"]
Difficulty = Literal["easy", "medium", "hard"]
CATEGORIES: tuple[str, ...] = get_args(Category)

_SLUG = "[a-z0-9]+(-[a-z0-9]+)*"
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Listed = Field(strict=False)  # a YAML list is read into a tuple; its items stay strict


def slug(category: str) -> str:
    """A category's directory: `data science` is `data-science`."""
    return category.replace(" ", "-")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TurnSection(_Section):
    prompt: Text
    reference: Text | None = None


class CaseSection(_Section):
    id: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    inputs: dict[Name, Any] = {}
    expect: Any


class LimitsSection(_Section):
    time_seconds: Annotated[float, Field(gt=0)] | None = None  # CPU time
    memory_mib: Annotated[int, Field(gt=0)] | None = None
    max_new_tokens: Annotated[int, Field(gt=0)] | None = None  # of each turn


class CompareSection(_Section):
    rtol: Annotated[float, Field(ge=0)] | None = None
    atol: Annotated[float, Field(ge=0)] | None = None


class SourceSection(_Section):
    """Where an imported problem is from, and what of it has no place elsewhere in this format."""

    set: Text
    max_gen_length: int | None = None
    surplus_outputs: list[Any] = []
    unused_inputs: dict[str, dict[str, Any]] = {}  # case id -> inputs that no prompt uses


class ProblemFile(_Section):
    id: Annotated[str, Field(pattern=f"^({_SLUG}/)?{_SLUG}$")]
    version: Annotated[int, Field(ge=1)]
    title: Text
    category: Category
    difficulty: Difficulty | None = None
    description: str = ""
    notes: str = ""
    source: SourceSection | None = None
    turns: Annotated[tuple[TurnSection, ...], Field(min_length=1), Listed]
    cases: Annotated[tuple[CaseSection, ...], Field(min_length=1), Listed]
    limits: LimitsSection = LimitsSection()
    compare: CompareSection = CompareSection()
    requires: Annotated[tuple[Text, ...], Listed] = ()
