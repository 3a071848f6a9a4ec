"""What tests of several packages share: whether there is a Docker daemon, and the box image."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

# pytest puts this folder on the path, where its subfolders would hide the packages of the same names.
_HERE = str(Path(__file__).parent)
sys.path[:] = [each for each in sys.path if each != _HERE]

ANSWERS = pytest.StashKey[dict[str, str | None]]()


def boxes_are_required() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true") or os.environ.get("MTPB_REQUIRE_DOCKER", "") == "1"


def why_no_docker() -> str | None:
    """Why the daemon cannot be used; None when it can."""
    from sandbox import SandboxUnavailable
    from sandbox.docker_client import connect

    try:
        connect().close()
    except SandboxUnavailable as reason:
        return str(reason)
    return None


def why_no_bubblewrap() -> str | None:
    """Why bubblewrap cannot be used; None when it can."""
    from sandbox.bubblewrap_wall import why_unusable

    return why_unusable()


WALLS = {"docker": why_no_docker, "bubblewrap": why_no_bubblewrap}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked by a wall that is not usable is skipped on a laptop, and fails where walls are required (CI=true)."""
    answers = item.config.stash.setdefault(ANSWERS, {})
    for wall, ask in WALLS.items():
        if item.get_closest_marker(wall) is None:
            continue
        if wall not in answers:
            answers[wall] = ask()
        if (reason := answers[wall]) is None:
            continue
        if boxes_are_required():
            pytest.fail(f"the {wall} tests are required here (CI=true or MTPB_REQUIRE_DOCKER=1), but {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the box image: the one that is here, or one built now, with no registry where debootstrap can do it."""
    from sandbox.base_image import DEBOOTSTRAP
    from sandbox.image import ensure_image

    can_debootstrap = os.geteuid() == 0 and shutil.which("debootstrap") is not None
    # Parallel test processes share the folder above their own: one of them builds, the others wait for it.
    lock: Path = tmp_path_factory.getbasetemp().parent / "docker-image.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return ensure_image(DEBOOTSTRAP if can_debootstrap else None, print)
