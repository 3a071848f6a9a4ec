"""`mtpb sandbox`, as users type it."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.sandbox_commands import sandbox
from sandbox import SandboxUnavailable
from sandbox.choose import diagnose
from sandbox.docker_client import connect
from sandbox.docker_wall import LABEL, RUN_LABEL


@pytest.fixture
def dead_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


def test_building_without_a_daemon_says_what_to_do(dead_daemon: None) -> None:
    result = CliRunner().invoke(sandbox, ["build", "--base", "debootstrap"])
    assert isinstance(result.exception, SandboxUnavailable)
    assert "no daemon answers" in str(result.exception)


def test_the_doctor_tells_every_wall_and_fails_only_when_none_works(dead_daemon: None) -> None:
    result = CliRunner().invoke(sandbox, ["doctor"])
    lines = result.stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["docker", "does not work here"]
    assert "start it" in lines[1]
    bubblewrap = next(line for line in lines if line.startswith("bubblewrap"))
    works = bubblewrap.split(maxsplit=1)[1] == "works"
    assert works == next(each.usable for each in diagnose() if each.wall == "bubblewrap")
    assert result.exit_code == (0 if works else 2)


@pytest.mark.docker
def test_the_doctor_runs_a_program_in_docker(docker_image: str) -> None:
    result = CliRunner().invoke(sandbox, ["doctor"])
    assert result.exit_code == 0, result.output
    docker = result.stdout.partition("bubblewrap")[0]
    assert docker.splitlines()[0].split(maxsplit=1) == ["docker", "works"]
    assert docker_image in docker
    assert "numpy 2." in docker


@pytest.mark.docker
def test_building_from_an_image_nobody_has_names_the_remedy() -> None:
    result = CliRunner().invoke(sandbox, ["build", "--base", "127.0.0.1:1/none"])
    assert isinstance(result.exception, SandboxUnavailable)
    assert "--base debootstrap" in str(result.exception)
    assert "pulling 127.0.0.1:1/none" in result.stderr


@pytest.mark.docker
def test_cleaning_removes_what_an_ended_run_left_and_names_it(docker_image: str) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with closing(connect()) as client:
        labels = {LABEL: "box", RUN_LABEL: f"{platform.node()}/{ended.pid}/1"}
        left = client.create_container(docker_image, ["python3"], labels=labels)["Id"]
    result = CliRunner().invoke(sandbox, ["gc"])
    assert result.exit_code == 0
    assert f"removed container {left[:12]}" in result.stdout.splitlines()
