"""What tests of several packages share: whether there is a Docker daemon, and the box image."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# pytest puts this folder on the path, where its subfolders would hide the packages of the same names.
_HERE = str(Path(__file__).parent)
sys.path[:] = [each for each in sys.path if each != _HERE]

ANSWERS = pytest.StashKey[dict[str, str | None]]()


def nothing_may_be_skipped() -> bool:
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


def why_no_model() -> str | None:
    """Why a model cannot be run in this process; None when it can."""
    missing = [name for name in ("openai", "xllamacpp") if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}; pip install 'mtpb[local,openai]'" if missing else None


def why_no_ordinary_user() -> str | None:
    """Why these tests cannot become an ordinary user with a Python that everyone may read; None when they can."""
    if os.geteuid() != 0:
        return "only root can become an ordinary user"
    asked = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not os.path.exists(SYSTEM_PYTHON) or subprocess.run(asked, check=False).returncode:
        return f"no Python of 3.11 or newer at {SYSTEM_PYTHON}"
    return None


SYSTEM_PYTHON = "/usr/bin/python3"
NEEDS = {
    "docker": why_no_docker,
    "bubblewrap": why_no_bubblewrap,
    "model": why_no_model,
    "ordinary_user": why_no_ordinary_user,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked by what this machine lacks is skipped on a laptop, and fails where it must run (CI=true)."""
    answers = item.config.stash.setdefault(ANSWERS, {})
    for need, ask in NEEDS.items():
        if item.get_closest_marker(need) is None:
            continue
        if need not in answers:
            answers[need] = ask()
        if (reason := answers[need]) is None:
            continue
        if nothing_may_be_skipped():
            pytest.fail(f"the {need} tests are required here (CI=true or MTPB_REQUIRE_DOCKER=1), but {reason}", pytrace=False)
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
