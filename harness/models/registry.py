"""Opens models by what is typed after `--model`. Bundled adapters and foreign ones are found the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from harness.errors import UsageError
from harness.models.from_file import checked, is_file_spec, open_from_file
from harness.models.options import parse_options
from harness.nouns import Problem
from harness.protocols import Model, ModelSpec

__all__ = ["GROUP", "adapters", "open_model", "parse_options"]

GROUP = "mtpb.models"  # entry points: provider -> factory that takes a ModelSpec


def adapters(points: Sequence[EntryPoint] | None = None) -> dict[str, EntryPoint]:
    """The installed adapters by name, in order. Raises UsageError when two distributions claim one name."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP) if points is None else points, key=lambda point: point.name):
        if (other := found.get(point.name)) is not None:
            raise UsageError(f"model {point.name!r} is offered twice: {_origin(other)} and {_origin(point)}; uninstall one")
        found[point.name] = point
    return found


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist is not None else point.value


def open_model(
    spec_text: str,
    *,
    options: Mapping[str, str] | None = None,
    base_url: str | None = None,
    max_connections: int = 8,
    problems: Sequence[Problem] = (),
) -> Model:
    """The model that `PROVIDER:NAME`, `NAME` or `path/to/file.py:Class` names, ready to answer.

    Raises UsageError when there is no such model, its extra is not installed, or it cannot be opened as asked.
    """
    options = dict(options or {})
    if is_file_spec(spec_text):
        if base_url is not None:
            raise UsageError("--base-url: a class in a file gets -M options only; give it one of its own, as in -M url=...")
        return open_from_file(spec_text, options)
    provider, _, name = spec_text.partition(":")
    point = adapters().get(provider)
    if point is None:
        raise UsageError(
            f"--model {spec_text}: there is no model {provider!r}; there are: {', '.join(adapters())}, and ./file.py:Class"
        )
    factory = point.load()
    return checked(factory(ModelSpec(name, options, base_url, max_connections, problems)), spec_text)
