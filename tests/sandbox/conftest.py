"""Boxes to test in: the same contract behind every wall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import BoxFacts, Execution, Limits, Program, Tests
from sandbox.bubblewrap_wall import BubblewrapWall
from sandbox.pool import Pool
from sandbox.wall import Wall


class Box:
    """A pool of one worker, spoken to without await."""

    def __init__(self, wall: Wall) -> None:
        self.runner = asyncio.Runner()
        self.pool = Pool(wall, 1)

    def run(self, source: str, *, tests: Tests | None = None, **limits: Any) -> Execution:
        return self.runner.run(self.pool.run(Program(source, tests), Limits(**limits)))

    def facts(self) -> BoxFacts:
        return self.runner.run(self.pool.facts())

    def close(self) -> None:
        self.runner.run(self.pool.__aexit__())
        self.runner.close()


@pytest.fixture(
    scope="session", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("bubblewrap", "docker")]
)
def wall(request: pytest.FixtureRequest) -> Wall:
    """Every wall that the contract must hold behind."""
    if request.param == "docker":
        from sandbox.docker_wall import DockerWall

        return DockerWall(request.getfixturevalue("docker_image"))
    return BubblewrapWall()


@pytest.fixture(scope="session")
def box(wall: Wall) -> Iterator[Box]:
    opened = Box(wall)
    yield opened
    opened.close()
