"""Writes plain values as YAML that `mtpb.yaml_loader` reads back as they were, and that people can read and edit."""

from __future__ import annotations

from typing import Any

import yaml

from mtpb.yaml_loader import plain

_TAGS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}


def dump(value: Any) -> str:
    """YAML of None, bool, int, float, str, and lists and string-keyed dicts of them; floats must be finite."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """What a scalar would be read as, by our loader and not by YAML 1.1: decides what needs quotes."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # the stubs say nothing of it
        try:
            return f"tag:yaml.org,2002:{_TAGS[type(plain(value))]}"
        except ValueError:
            return None


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Only double quotes keep every character where a long line is folded.
    style = None if text.isprintable() and text == text.strip() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    """Lists of data on one line, lists of mappings with a line for each."""
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=not any(isinstance(i, dict) for i in items))


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _string)
_Dumper.add_representer(float, _float)
