"""`mtpb models`: which models there are, and their weights."""

from __future__ import annotations

import inspect
import os

import click

from harness.errors import UsageError


@click.group()
def models() -> None:
    """List the model adapters; pull bundled weights."""


@models.command("list")
def list_models() -> None:
    """What can follow --model, and where it comes from."""
    from harness.models.registry import adapters

    rows: list[tuple[str, str, str]] = []
    for name, point in adapters().items():
        try:
            promise = (inspect.getdoc(point.load()) or "").partition("\n")[0]
        except Exception as error:  # a broken plugin must not hide the others
            promise = f"cannot be loaded: {type(error).__name__}: {error}"
        rows.append((name, point.dist.name if point.dist is not None else point.value, promise))
    rows.append(("./file.py:Class", "a file", "A class of your own; -M key=value become its arguments."))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, origin, promise in rows:
        click.echo(f"{name:<{widths[0]}}  {origin:<{widths[1]}}  {promise}".rstrip())


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Download the weights of NAME now, instead of at first use; prints the file."""
    from harness.models.smollm2 import SMOLLM2
    from harness.models.weights import cache_directory
    from harness.models.weights import pull as pull_weights

    if name != SMOLLM2.name:
        raise UsageError(f"models pull {name}: there are no weights of that name; there are: {SMOLLM2.name}")
    path = pull_weights(SMOLLM2, cache_directory(os.environ), say=lambda text: click.echo(text, err=True))
    click.echo(path)
