"""How one program is kept from the guest and from the programs before and after it, and how all it left is taken away."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn, Protocol

from sandbox.guest import kernel

SCRATCH = "/tmp/box"  # noqa: S108 (a private tmpfs)
SWEEP_SECONDS = 5.0


class Ended(NamedTuple):
    """How the program's own process ended, and what it and its children used."""

    status: int
    cpu_seconds: float
    peak_memory_mib: float


class Separation(Protocol):
    """One program at a time: start, perhaps stop, reap until it has ended, sweep."""

    @property
    def name(self) -> str: ...

    def start(self, program: Callable[[], NoReturn], processes: int) -> int:
        """Run `program` in a process of its own, with its scratch directory as HOME and working directory. Returns a pid."""
        ...

    def stop(self) -> None:
        """End the program at once."""
        ...

    def reap(self) -> Ended | None:
        """How the program ended, None while it runs. Never blocks for long."""
        ...

    def sweep(self) -> bool:
        """Take away everything the ended program left. False when something may be left, so that this guest must go."""
        ...


def choose(wanted: str, uid_base: int, tmp_mib: int) -> Separation:
    """The strongest separation there is, "none" only where that is wanted."""
    if wanted == "none":
        return NoSeparation()
    needed = sum(1 << capability for capability in (kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID))
    if os.getuid() == 0 and kernel.effective_capabilities() & needed == needed:
        return UserSeparation(uid_base)
    return NamespaceSeparation(tmp_mib)


def _enter_scratch(path: str) -> None:
    os.environ["HOME"] = path
    os.chdir(path)


def _ended(status: int, usage: resource.struct_rusage) -> Ended:
    return Ended(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _no_children() -> bool:
    """Whether no child is left, ended ones being reaped on the way.

    Orphans become children of this process, so without children nothing of any program is left.
    """
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return False
        except ChildProcessError:
            return True


class _Direct:
    """The program is a child of the guest."""

    pid = 0

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> Ended | None:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        return _ended(status, usage) if pid else None


class UserSeparation(_Direct):
    """A user id for each program, never used again by this guest."""

    name = "uid"

    def __init__(self, uid_base: int) -> None:
        # With user ids remapped, only some exist here.
        with open("/proc/self/uid_map", encoding="ascii") as uid_map:
            length = sum(int(line.split()[2]) for line in uid_map)
        self._keeper = uid_base if uid_base + 10_000 < length else length // 2 + uid_base % (length // 4)
        self._uid = self._keeper
        self._writable = _writable_directories()

    def start(self, program: Callable[[], NoReturn], processes: int) -> int:
        self._uid += 1
        self.pid = os.fork()
        if self.pid == 0:
            _become(self._uid, self._uid, self._uid)
            resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
            kernel.set_no_new_privileges()
            kernel.set_dumpable(True)
            os.mkdir(SCRATCH, 0o700)
            _enter_scratch(SCRATCH)
            program()
        return self.pid

    def sweep(self) -> bool:
        deadline = time.monotonic() + SWEEP_SECONDS
        while not (self._nothing_left() or time.monotonic() > deadline):
            cleaner = os.fork()
            if cleaner == 0:
                try:
                    # Real and saved user id are another one, so that what is to be killed cannot kill the cleaner.
                    _become(self._keeper, self._uid, self._keeper)
                    os.kill(-1, signal.SIGKILL)
                    for directory in self._writable:
                        _empty(directory)
                    _remove_ipc_objects()
                finally:
                    os._exit(0)
            os.waitpid(cleaner, 0)
        return self._nothing_left()

    def _nothing_left(self) -> bool:
        if not _no_children():
            time.sleep(0.001)  # killed, but not gone yet
            return _no_children() and self._nothing_left()
        return not any(os.listdir(directory) for directory in self._writable) and not any(_ipc_objects())


def _become(real: int, effective: int, saved: int) -> None:
    os.setsid()
    os.setgroups([])
    os.setresgid(real, effective, saved)
    os.setresuid(real, effective, saved)


def _writable_directories() -> list[str]:
    """Where a program of any user could leave files: the mounts that everyone may write to."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            _, path, kind, options = line.split()[:4]
            if kind in ("proc", "sysfs", "devpts", "cgroup", "cgroup2") or "rw" not in options.split(","):
                continue
            for candidate in (path, os.path.join(path, "tmp"), os.path.join(path, "var/tmp"), os.path.join(path, "lock")):
                try:
                    mode = os.stat(candidate).st_mode
                    writable = stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not os.statvfs(candidate).f_flag & os.ST_RDONLY
                except OSError:
                    continue
                if writable and candidate not in found:
                    found.append(candidate)
    return found


def _empty(directory: str) -> None:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.path)
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        except OSError:
            continue


def _open_up(top: str) -> None:
    """Give every directory below `top` its usual rights back, so that it can be emptied."""
    os.chmod(top, 0o700)
    for path, directories, _ in os.walk(top):
        for name in directories:
            inner = os.path.join(path, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)


def _ipc_objects() -> list[tuple[str, int]]:
    """System V objects, which outlive every process: (kind, identifier)."""
    found = []
    for kind in ("shm", "sem", "msg"):
        try:
            with open(f"/proc/sysvipc/{kind}", "rb", buffering=0) as table:
                found += [(kind, int(row.split()[1])) for row in table.read().splitlines()[1:]]
        except OSError:
            continue
    return found


def _remove_ipc_objects() -> None:
    for kind, number in _ipc_objects():
        kernel.remove_ipc(kind, number)


class NamespaceSeparation:
    """User, process, IPC and mount namespaces for each program: their end takes everything with it.

    For a guest that has one user id only.
    """

    name = "namespace"

    def __init__(self, tmp_mib: int) -> None:
        self._uid, self._gid = os.getuid(), os.getgid()
        self._tmp_mib = tmp_mib
        self._init = 0
        self._result = -1

    def start(self, program: Callable[[], NoReturn], processes: int) -> int:
        result, sink = os.pipe()
        self._result = result
        launcher = os.fork()
        if launcher == 0:
            try:
                self._launch(sink, program, processes)
            finally:
                os._exit(1)
        os.close(sink)
        os.waitpid(launcher, 0)
        told = os.read(result, 16)
        if len(told) != 16:
            os.close(result)
            raise OSError("no namespaces for the program: user namespaces are forbidden here")
        # The launcher has ended, so that its child, the first process of the namespace, is this process's child now.
        self._init = int(told)
        os.set_blocking(result, False)
        return self._init

    def _launch(self, sink: int, program: Callable[[], NoReturn], processes: int) -> NoReturn:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWNS)
        # /proc/self belongs to root while this process may not be looked into.
        kernel.set_dumpable(True)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{self._uid} {self._uid} 1"),
            ("gid_map", f"{self._gid} {self._gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as control:
                control.write(text)
        kernel.set_dumpable(False)
        init = os.fork()
        if init:
            os.write(sink, f"{init:16d}".encode())
            os._exit(0)
        self._be_init(sink, program, processes)

    def _be_init(self, sink: int, program: Callable[[], NoReturn], processes: int) -> NoReturn:
        os.setsid()
        quiet = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", "/proc", "proc", quiet | kernel.MS_NOEXEC)
        for directory in ("/tmp", "/dev/shm"):  # noqa: S108 (covered by a tmpfs of the program's own)
            kernel.mount("tmpfs", directory, "tmpfs", quiet, f"size={self._tmp_mib}m,mode=1777")
        # Without this, the program could take new namespaces and mount there what it likes.
        with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as control:
            control.write("0")
        main = os.fork()
        if main == 0:
            os.close(sink)
            # The first process of the namespace counts as well.
            resource.setrlimit(resource.RLIMIT_NPROC, (processes + 1, processes + 1))
            kernel.drop_capabilities()
            kernel.set_no_new_privileges()
            kernel.set_dumpable(True)
            os.mkdir(SCRATCH, 0o700)
            _enter_scratch(SCRATCH)
            program()
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(sink, 3)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(4, 4096)
        while True:
            pid, status, usage = os.wait4(-1, 0)
            if pid == main:
                os.write(3, json.dumps(_ended(status, usage)).encode())
                os._exit(0)

    def stop(self) -> None:
        os.kill(self._init, signal.SIGKILL)

    def reap(self) -> Ended | None:
        pid, status, usage = os.wait4(self._init, os.WNOHANG)
        if not pid:
            return None
        try:
            told = os.read(self._result, 4096)
        except BlockingIOError:
            told = b""
        os.close(self._result)
        ended = _ended(status, usage)
        # Without word from the first process, it was killed itself, and the program with it.
        return Ended(json.loads(told)[0], ended.cpu_seconds, ended.peak_memory_mib) if told else ended

    def sweep(self) -> bool:
        return _no_children()


class NoSeparation(_Direct):
    """For `--sandbox none`: a session and a directory of its own, no more."""

    name = "none"

    def __init__(self) -> None:
        self._scratch = ""

    def start(self, program: Callable[[], NoReturn], processes: int) -> int:
        self._scratch = tempfile.mkdtemp(prefix="box-")
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            kernel.end_with_parent(signal.SIGKILL)  # no wall takes it along
            kernel.set_dumpable(True)
            _enter_scratch(self._scratch)
            program()
        return self.pid

    def sweep(self) -> bool:
        deadline = time.monotonic() + SWEEP_SECONDS
        while not _no_children() and time.monotonic() < deadline:
            for child in _children():
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        shutil.rmtree(self._scratch, ignore_errors=True)
        return _no_children()


def _children() -> list[int]:
    with open("/proc/thread-self/children", encoding="ascii") as children:
        return [int(pid) for pid in children.read().split()]
