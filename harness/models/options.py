"""What adapters read from a ModelSpec: options by name, refused when unknown, and the packages of an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

from harness.errors import UsageError
from harness.protocols import ModelSpec


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """`-M key=value` pairs by key. Raises UsageError for a pair without `=`, without a key, or with a key seen before."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"-M {pair}: write -M key=value")
        if key in options:
            raise UsageError(f"-M {pair}: {key} is already {options[key]!r}; give it once")
        options[key] = value
    return options


def check_options(adapter: str, options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises UsageError that lists the known options when there is another."""
    for key in options:
        if key not in known:
            there_are = f"it knows {', '.join(known)}" if known else "it has none"
            raise UsageError(f"-M {key}: the model {adapter} has no such option; {there_are}")


def refuse_name(adapter: str, spec: ModelSpec) -> None:
    """Raises UsageError when the model was given a name that it has no use for."""
    if spec.name:
        raise UsageError(f"--model {adapter}:{spec.name}: nothing follows {adapter}; write --model {adapter}")


def refuse_base_url(adapter: str, spec: ModelSpec) -> None:
    """Raises UsageError when there is a --base-url, for adapters that reach no server."""
    if spec.base_url is not None:
        raise UsageError(f"--base-url: the model {adapter} reaches no server; it is for openai:NAME")


def whole_number(options: Mapping[str, str], key: str, default: int, *, least: int = 1) -> int:
    """The option as a whole number. Raises UsageError when it is none, or under `least`."""
    text = options.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise UsageError(f"-M {key}={text}: {key} is a whole number from {least}")
    return int(text)


def seconds(options: Mapping[str, str], key: str, default: float) -> float:
    """The option as a positive number of seconds. Raises UsageError when it is none."""
    text = options.get(key)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"-M {key}={text}: {key} is a number of seconds above 0")
    return number


def need(package: str, extra: str, adapter: str) -> ModuleType:
    """Imports a package of an extra. Raises UsageError that names the extra when it is not installed."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UsageError(f"the model {adapter} needs the package {package}: pip install 'mtpb[{extra}]'") from None
