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

DOCKER_ANSWER = pytest.StashKey[str | None]()


def docker_is_required() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true") or os.environ.get("MTPB_REQUIRE_DOCKER", "") == "1"


def why_no_docker(config: pytest.Config) -> str | None:
    """Why the daemon cannot be used, asked once; None when it can."""
    if DOCKER_ANSWER not in config.stash:
        from sandbox import SandboxUnavailable
        from sandbox.docker_client import connect

        try:
            connect().close()
        except SandboxUnavailable as reason:
            config.stash[DOCKER_ANSWER] = str(reason)
        else:
            config.stash[DOCKER_ANSWER] = None
    return config.stash[DOCKER_ANSWER]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a daemon the tests marked `docker` are skipped on a laptop and fail where they are required (CI=true)."""
    if item.get_closest_marker("docker") is None:
        return
    reason = why_no_docker(item.config)
    if reason is None:
        return
    if docker_is_required():
        pytest.fail(f"the Docker tests are required here (CI=true or MTPB_REQUIRE_DOCKER=1), but {reason}", pytrace=False)
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
