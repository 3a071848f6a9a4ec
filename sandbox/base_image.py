"""Where the box image's base comes from: a registry, an image already here, or debootstrap where there is neither."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.contract import SandboxError, SandboxUnavailable
from sandbox.docker_client import Client, daemon_errors, inspect_image, pull
from sandbox.docker_wall import LABEL, DockerWall
from sandbox.wall import ChannelClosed

REGISTRY_BASE = "python:3.11-slim-bookworm"
DEBOOTSTRAP = "debootstrap"  # what users give as base to have one made
DEBOOTSTRAP_BASE = "mtpb-base:bookworm"
DEBOOTSTRAP_SUITE = "bookworm"
DEBOOTSTRAP_PACKAGES = "python3-minimal,libpython3-stdlib,tzdata"
# The daemon fills dev, proc and sys itself; the rest is nothing a program could miss.
LEFT_OUT = (
    "./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/tmp/*", "./var/cache/*", "./var/log/*",
    "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/info/*", "./usr/share/locale/*",
    "./debootstrap",
)  # fmt: skip

OLDEST_PYTHON = (3, 11)
PROBE_SECONDS = 60.0
WITHOUT_REGISTRY = (
    f"without a registry: `mtpb sandbox build --base {DEBOOTSTRAP}` (on Debian or Ubuntu, as root), or "
    "`mtpb sandbox build --base IMAGE` with an image that is here and has python3"
)

_PROBE = """
import json, os, platform, sys
print(json.dumps({"python": sys.version_info[:2], "machine": platform.machine(), "libc": platform.libc_ver()}), flush=True)
"""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What wheels for a base must fit."""

    python: tuple[int, int]
    machine: str  # as wheels name it: "x86_64", "aarch64"
    glibc: tuple[int, int]


def provide(client: Client, base: str | None, say: Callable[[str], None]) -> str:
    """The reference of a base image that is here now; None asks for the public Python image.

    Raises SandboxUnavailable, with what else can be done, when it can be neither found, fetched nor made.
    """
    if base == DEBOOTSTRAP:
        if inspect_image(client, DEBOOTSTRAP_BASE) is None:
            _debootstrap(client, say)
        return DEBOOTSTRAP_BASE
    reference = base or REGISTRY_BASE
    if inspect_image(client, reference) is None:
        say(f"pulling {reference}")
        try:
            pull(client, reference, say)
        except SandboxError as reason:
            raise SandboxUnavailable(
                f"the base image {reference} is not here and no registry gave it ({reason}); {WITHOUT_REGISTRY}"
            ) from reason
    return reference


def probe(reference: str) -> BaseFacts:
    """Ask the Python of a base image what it is. Raises SandboxError when there is none, or none that will do."""
    try:
        told = _ask(reference)
    except (SandboxError, ChannelClosed, TimeoutError, ValueError) as reason:
        raise SandboxError(f"the base image {reference} cannot run python3 ({reason}); choose a base that has it") from reason
    python = (int(told["python"][0]), int(told["python"][1]))
    if python < OLDEST_PYTHON:
        raise SandboxError(f"the base image {reference} has Python {python[0]}.{python[1]}; the box needs 3.11 or newer")
    libc, version = told["libc"]
    if libc != "glibc":
        raise SandboxError(f"the base image {reference} has no glibc (it may be Alpine's); choose a base built on glibc")
    major, minor = version.split(".")[:2]
    return BaseFacts(python=python, machine=told["machine"], glibc=(int(major), int(minor)))


def _ask(reference: str) -> dict[str, Any]:
    with closing(DockerWall(reference)) as wall:
        channel = wall.start(["-I", "-c", _PROBE], memory_mib=256)
        try:
            told: dict[str, Any] = json.loads(channel.receive(PROBE_SECONDS))
        finally:
            channel.kill()
    return told


def debootstrap_program(path: str, user_id: int) -> str:
    """Where debootstrap is on `path`. Raises SandboxUnavailable where it is not, or would not work for this user."""
    program = shutil.which("debootstrap", path=path)
    if program is None:
        raise SandboxUnavailable("--base debootstrap: there is no debootstrap here; `apt-get install debootstrap`")
    if user_id != 0:
        raise SandboxUnavailable("--base debootstrap: debootstrap works for root only; run this one command with sudo")
    return program


def _debootstrap(client: Client, say: Callable[[str], None]) -> None:
    """Make a small Debian with Python and hand it to the daemon as `DEBOOTSTRAP_BASE`."""
    program = debootstrap_program(os.environ.get("PATH", "") + os.pathsep + "/usr/sbin", os.geteuid())
    with tempfile.TemporaryDirectory(prefix="mtpb-base-") as temporary:
        root = Path(temporary) / "root"
        say(f"debootstrap: making a small Debian ({DEBOOTSTRAP_SUITE}) with Python; about a minute")
        command = [program, "--variant=minbase", f"--include={DEBOOTSTRAP_PACKAGES}", DEBOOTSTRAP_SUITE, str(root)]
        made = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
        )
        if made.returncode != 0:
            raise SandboxError(f"debootstrap failed with status {made.returncode}; its last lines:\n{_tail(made.stdout)}")
        say("handing it to the daemon")
        _import(client, root)


def _import(client: Client, root: Path) -> None:
    left_out = [f"--exclude={each}" for each in LEFT_OUT]
    command = ["tar", "--create", "--numeric-owner", "--one-file-system", *left_out, f"--directory={root}", "."]
    with tempfile.TemporaryFile() as complaints, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as tar:
        with daemon_errors("importing the Debian that debootstrap made"):
            repository, _, tag = DEBOOTSTRAP_BASE.partition(":")
            answer = client.import_image_from_stream(
                tar.stdout, repository, tag, changes=[f"LABEL {LABEL}=base", 'CMD ["python3"]']
            )
        if tar.wait() != 0:
            complaints.seek(0)
            raise SandboxError(
                f"packing the Debian that debootstrap made failed: {_tail(complaints.read().decode(errors='replace'))}"
            )
    if inspect_image(client, DEBOOTSTRAP_BASE) is None:
        raise SandboxError(f"docker: the daemon did not take the Debian that debootstrap made: {_tail(str(answer))}")


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])
