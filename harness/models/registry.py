"""Opens models by their specification."""

from __future__ import annotations
from importlib.metadata import entry_points
from harness.protocols import ModelSpec
from harness.errors import UsageError


def parse_options(pairs):
    return dict(p.split("=", 1) for p in pairs)


def open_model(spec_text, *, options, base_url=None, max_connections=8, problems=()):
    provider, _, name = spec_text.partition(":")
    for point in entry_points(group="mtpb.models", name=provider):
        return point.load()(ModelSpec(name, options, base_url, max_connections, problems))
    raise UsageError(f"no adapter {provider}; there are reference")
