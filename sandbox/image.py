"""The box's Docker image: a base with Python, and the packages that programs may import.

The packages are fetched on the host by pip, as wheels for the base's Python and machine, and copied in: the build itself has no
network and needs none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sandbox.base_image import BaseFacts, probe, provide
from sandbox.bootstrap import PACKAGES
from sandbox.contract import SandboxError
from sandbox.docker_client import Client, connect, daemon_errors, inspect_image
from sandbox.docker_wall import LABEL

# Pinned, so that the same recipe is the same box. They have wheels for Python 3.11 to 3.14, on x86_64 and aarch64.
REQUIREMENTS = (
    "numpy==2.3.5",
    "pandas==2.3.3",
    "python-dateutil==2.9.0.post0",
    "pytz==2025.2",
    "six==1.17.0",
    "tzdata==2025.2",
)
RECIPE_LABEL = "mtpb.recipe"
BASE_LABEL = "mtpb.base"
OLDEST_GLIBC_MINOR = 17  # of the oldest wheels there are

# Nothing can be written in the box, so the packages' bytecode is made here; it holds whatever becomes of the files' times.
_COMPILE = f"""
import compileall, py_compile, re, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
done = compileall.compile_dir("{PACKAGES}", quiet=1, rx=re.compile("/tests/"), workers=0, invalidation_mode=mode)
sys.exit(0 if done else 1)
"""

_DOCKERFILE = f"""\
FROM BASE
COPY packages {PACKAGES}
RUN {json.dumps(["python3", "-I", "-c", _COMPILE])}
ENTRYPOINT []
CMD ["python3"]
"""


def recipe_digest() -> str:
    """Names what goes into the image besides its base: twelve hexadecimal digits."""
    return hashlib.sha256("\0".join([*REQUIREMENTS, _DOCKERFILE]).encode()).hexdigest()[:12]


def image_tag() -> str:
    """The one name this version gives its image."""
    return f"mtpb-box:{recipe_digest()}"


def find_image() -> str | None:
    """The id of the box image, or None when it is not here. Raises SandboxUnavailable without a daemon."""
    client = connect()
    try:
        found = inspect_image(client, image_tag())
    finally:
        client.close()
    return found["Id"] if found else None


def ensure_image(base: str | None, say: Callable[[str], None]) -> str:
    """The id of the box image, built now if it is not here. Raises as `build` does."""
    found = find_image()
    if found is not None:
        return found
    say("the box image is not here yet: building it, once")
    return build(base, say)


def build(base: str | None, say: Callable[[str], None]) -> str:
    """Build the box image and return its id; `say` hears what is being done.

    `base` is None for the public Python image, "debootstrap" for one made here, or any image reference that is here or can be
    pulled. Raises SandboxUnavailable when the base cannot be had, SandboxError when a later step fails.
    """
    client = connect()
    try:
        reference = provide(client, base, say)
        facts = probe(reference)
        with tempfile.TemporaryDirectory(prefix="mtpb-box-") as temporary:
            packages = Path(temporary) / "site-packages"
            say(f"fetching {' '.join(REQUIREMENTS[:2])} for Python {facts.python[0]}.{facts.python[1]}, {facts.machine}")
            fetch_packages(facts, packages)
            with tempfile.TemporaryFile() as context:
                _pack(context, packages, reference)
                say(f"building {image_tag()}")
                _build(client, context, base or reference)
        built = inspect_image(client, image_tag())
    finally:
        client.close()
    if built is None:
        raise SandboxError(f"docker: the build ended well and yet there is no {image_tag()}; look into the daemon's log")
    return str(built["Id"])


def platform_tags(facts: BaseFacts) -> list[str]:
    """The wheel platforms a base can use, newest first."""
    _, minor = facts.glibc
    newer = [f"manylinux_2_{each}_{facts.machine}" for each in range(minor, OLDEST_GLIBC_MINOR - 1, -1)]
    return [*newer, f"manylinux2014_{facts.machine}"]


def fetch_packages(facts: BaseFacts, folder: Path) -> None:
    """Unpack the wheels that fit `facts` into `folder`. Raises SandboxError with pip's own words."""
    if importlib.util.find_spec("pip") is None:
        raise SandboxError(f"{sys.executable} has no pip, which fetches the box's packages; `{sys.executable} -m ensurepip`")
    major, minor = facts.python
    platforms = [f"--platform={tag}" for tag in platform_tags(facts)]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile",
        "--no-deps", "--root-user-action=ignore", "--only-binary=:all:", "--implementation=cp",
        f"--python-version={major}.{minor}", f"--abi=cp{major}{minor}", "--abi=none", *platforms,
        f"--target={folder}", *REQUIREMENTS,
    ]  # fmt: skip
    fetched = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if fetched.returncode != 0:
        last = "\n".join(fetched.stdout.strip().splitlines()[-6:])
        raise SandboxError(
            f"pip could not fetch the box's packages for Python {major}.{minor} on {facts.machine}:\n{last}\n"
            "where no package index answers, put the wheels into a folder and set PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER"
        )


def _pack(context: IO[bytes], packages: Path, base: str) -> None:
    """Write the build context: readable to every user id, whatever the mask of ours."""

    def readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(fileobj=context, mode="w") as archive:
        dockerfile = _DOCKERFILE.replace("BASE", base, 1).encode()
        entry = readable(tarfile.TarInfo("Dockerfile"))
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
        archive.add(packages, arcname="packages", filter=readable)
    context.seek(0)


def _build(client: Client, context: IO[bytes], base: str) -> None:
    labels = {LABEL: "image", RECIPE_LABEL: recipe_digest(), BASE_LABEL: base}
    with daemon_errors("building the box image"):
        steps = client.build(
            fileobj=context,
            custom_context=True,
            tag=image_tag(),
            rm=True,
            forcerm=True,
            network_mode="none",
            labels=labels,
            decode=True,
        )
        told: list[str] = []
        for step in steps:
            if "error" in step:
                raise SandboxError(f"docker: building the box image: {step['error']}\n{''.join(told[-8:])}")
            told.append(str(step.get("stream", "")))


def remove_old_images() -> list[str]:
    """Remove the `old_images` and name them. Raises SandboxError when a container still needs one."""
    client = connect()
    try:
        old = old_images(client)
        for name in old:
            with daemon_errors(f"removing {name}"):
                client.remove_image(name)
    finally:
        client.close()
    return old


def old_images(client: Client) -> list[str]:
    """Names, or else ids, of the box images that other versions made or that a later build replaced."""
    with daemon_errors("listing images"):
        ours = client.images(filters={"label": RECIPE_LABEL})
    named = [(each["Id"], [name for name in each["RepoTags"] or () if name != "<none>:<none>"]) for each in ours]
    return [names[0] if names else image for image, names in named if image_tag() not in names]
