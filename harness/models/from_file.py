"""A model from a Python file of the user's: `./file.py:Class`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from harness.errors import UsageError
from harness.protocols import Model


def is_file_spec(spec_text: str) -> bool:
    """Whether `--model` names a class in a file."""
    return spec_text.endswith(".py") or ".py:" in spec_text


def load_class(spec_text: str) -> Callable[..., Any]:
    """The class (or function) that `path/to/file.py:Name` names; the file is run. Raises UsageError when there is none."""
    path_text, _, name = spec_text.rpartition(":")
    if not path_text.endswith(".py"):
        raise UsageError(f"--model {spec_text}: name the class too, as in {spec_text}:Class")
    path = Path(path_text)
    if not path.is_file():
        raise UsageError(f"--model {spec_text}: there is no file {path}")
    module_name = f"mtpb_model_{path.stem}"
    found = importlib.util.spec_from_file_location(module_name, path)
    if found is None or found.loader is None:
        raise UsageError(f"--model {spec_text}: {path} is not a Python module")
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module  # dataclasses look their own module up by name
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"--model {spec_text}: running {path} raised {type(error).__name__}: {error}") from error
    loaded = getattr(module, name, None)
    if not callable(loaded):
        raise UsageError(f"--model {spec_text}: {path} has no class {name!r}")
    return cast("Callable[..., Any]", loaded)


def open_from_file(spec_text: str, options: Mapping[str, str]) -> Model:
    """The class called with the -M options as keyword arguments, all of them texts. Raises UsageError when they do not fit."""
    loaded = load_class(spec_text)
    try:
        inspect.signature(loaded).bind(**options)
    except TypeError as error:
        raise UsageError(f"--model {spec_text}: the -M options do not fit its arguments: {error}") from None
    try:
        made = loaded(**options)
    except (Exception, SystemExit) as error:
        raise UsageError(f"--model {spec_text}: making one raised {type(error).__name__}: {error}") from error
    return checked(made, spec_text)


def checked(model: object, spec_text: str) -> Model:
    """`model`, when it has what a Model has. Raises UsageError when it has not."""
    if not isinstance(getattr(model, "name", None), str) or not inspect.iscoroutinefunction(getattr(model, "complete", None)):
        raise UsageError(
            f"--model {spec_text}: {type(model).__name__} is not a model: "
            "it needs `name`, a text, and `async def complete(self, request)`"
        )
    return cast("Model", model)
