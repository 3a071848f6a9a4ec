"""The wall made of a Docker container: no network, nothing to write but scratch, next to no privileges."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.contract import SandboxError, SandboxUnavailable
from sandbox.docker_client import Attached, Client, connect, daemon_errors, inspect_image, remove_container
from sandbox.wall import ChannelClosed

LABEL = "mtpb"  # on every container and image of ours
RUN_LABEL = "mtpb.run"

# Root in the container gives each program a user id of its own, and ends what a program left behind; nothing more.
CAPABILITIES = ("SETUID", "SETGID", "KILL")
PROCESSES = 512  # in the whole container; programs have limits of their own, this one holds when those fail
SCRATCH_MIB = 256
SHARED_MEMORY_MIB = 64
OPEN_FILES = 1024

SEND_SECONDS = 60.0
KEPT_STDERR_BYTES = 16_384
MAX_LINE_BYTES = 256 * 1024 * 1024

_FRAME = struct.Struct(">BxxxL")
_STDERR = 2


class Frames:
    """Takes apart what the daemon sends: frames, cut anywhere. Stdout becomes lines; of stderr the end is kept."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._raw = bytearray()
        self._line = bytearray()
        self._searched = 0
        self.stderr = b""

    def feed(self, received: bytes) -> None:
        """Take the next bytes of the connection. Raises SandboxError when a line grows beyond what may be held."""
        self._raw += received
        start = 0
        while len(self._raw) - start >= _FRAME.size:
            stream, length = _FRAME.unpack_from(self._raw, start)
            end = start + _FRAME.size + length
            if len(self._raw) < end:
                break
            content = self._raw[start + _FRAME.size : end]
            if stream == _STDERR:
                self.stderr = (self.stderr + content)[-KEPT_STDERR_BYTES:]
            else:
                self._line += content
            start = end
        del self._raw[:start]
        if max(len(self._line), len(self._raw)) > self._max_line_bytes:
            raise SandboxError(f"docker: the guest sent a line of over {self._max_line_bytes} bytes; its worker is given up")

    def line(self) -> bytes | None:
        """The next whole line, without its newline; None when there is none yet."""
        at = self._line.find(b"\n", self._searched)
        if at < 0:
            self._searched = len(self._line)
            return None
        line = bytes(self._line[:at])
        del self._line[: at + 1]
        self._searched = 0
        return line


class DockerChannel:
    """A guest in a container of its own, spoken to over the attached streams. See `sandbox.wall.Channel`."""

    def __init__(self, client: Client, container: str, attached: Attached) -> None:
        self.container = container
        self._client = client
        self._attached = attached
        self._frames = Frames()
        self._in_use = threading.Lock()
        self._ending = threading.Lock()
        self._killed = False

    def send(self, line: bytes) -> None:
        with self._in_use:
            if self._killed:
                raise ChannelClosed("the container was ended")
            try:
                self._attached.socket.settimeout(SEND_SECONDS)
                self._attached.socket.sendall(line + b"\n")
            except OSError as reason:
                raise ChannelClosed(f"the container takes nothing more: {reason}{self._last_words()}") from reason

    def receive(self, timeout_seconds: float) -> bytes:
        deadline = time.monotonic() + timeout_seconds
        with self._in_use:
            while (line := self._frames.line()) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no whole line from the container in {timeout_seconds:g} s")
                if self._killed:
                    raise ChannelClosed("the container was ended")
                try:
                    self._attached.socket.settimeout(left)
                    received = self._attached.socket.recv(262_144)
                except TimeoutError:
                    continue
                except OSError as reason:
                    raise ChannelClosed(f"the connection to the container broke: {reason}{self._last_words()}") from reason
                if not received:
                    raise ChannelClosed(f"the container ended{self._last_words()}")
                self._frames.feed(received)
        return line

    def _last_words(self) -> str:
        text = self._frames.stderr.decode("utf-8", "replace").strip()
        return f"; its last words: {text}" if text else ""

    def kill(self) -> None:
        with self._ending:
            if self._killed:
                return
            self._killed = True
        # The descriptor is closed only once nobody waits on it: its number might be someone else's by then.
        self._attached.end()
        remove_container(self._client, self.container)
        with self._in_use:
            self._attached.close()


class DockerWall:
    """Starts each guest in a fresh container of one image. Raises SandboxUnavailable without a daemon or that image.

    `runtime` names another OCI runtime the daemon knows, for example "runsc". See `sandbox.wall.Wall`.
    """

    name = "docker"

    def __init__(self, image_reference: str, *, runtime: str | None = None) -> None:
        self._client = connect()
        self._runtime = runtime
        self._run = this_run()
        try:
            found = inspect_image(self._client, image_reference)
            if found is None:
                raise SandboxUnavailable(
                    f"docker: there is no image {image_reference} here; `mtpb sandbox build` makes the box's"
                )
        except BaseException:
            self._client.close()
            raise
        self.image: str = found["Id"]

    def start(self, python_arguments: Sequence[str], memory_mib: int) -> DockerChannel:
        with daemon_errors("making a container"):
            container: str = self._client.create_container(**self._recipe(python_arguments, memory_mib))["Id"]
        attached = None
        try:
            with daemon_errors("starting a container"):
                # Attached before it starts, so that nothing the guest says is missed.
                attached = Attached(self._client, container)
                self._client.start(container)
        except BaseException:
            if attached is not None:
                attached.close()
            remove_container(self._client, container)
            raise
        return DockerChannel(self._client, container, attached)

    def _recipe(self, python_arguments: Sequence[str], memory_mib: int) -> dict[str, Any]:
        host_config = self._client.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["no-new-privileges"],
            ipc_mode="private",
            init=True,
            auto_remove=True,
            pids_limit=PROCESSES,
            mem_limit=f"{memory_mib}m",
            memswap_limit=f"{memory_mib}m",
            shm_size=f"{SHARED_MEMORY_MIB}m",
            # Programs may execute what they write, as behind the other walls: a verdict must not depend on the wall.
            tmpfs={"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={SCRATCH_MIB}m"},  # noqa: S108 - inside the box
            ulimits=[
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES},
            ],
            log_config={"Type": "none", "Config": {}},
            runtime=self._runtime,
        )
        return {
            "image": self.image,
            "entrypoint": ["python3"],
            "command": list(python_arguments),
            "user": "0:0",
            "working_dir": "/tmp",  # noqa: S108 - inside the box
            "hostname": "box",
            "environment": {"HOME": "/tmp", "LANG": "C.UTF-8"},  # noqa: S108 - inside the box
            # An open stdin that is not detached closes for good when our end does, whatever became of us.
            "stdin_open": True,
            "detach": False,
            "network_disabled": True,
            "labels": {LABEL: "box", RUN_LABEL: self._run},
            "host_config": host_config,
        }

    def close(self) -> None:
        self._client.close()


def this_run() -> str:
    """Names this process among all that ever ran on this host: host, process id, and when it started."""
    return f"{platform.node()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; "" where the system does not say or there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_abandoned(run: str) -> bool:
    """Whether the run a container belongs to has ended. A run of another host is never called ended: we cannot know."""
    host, pid, started = run.rsplit("/", 2) if run.count("/") >= 2 else ("", "", "")
    if host != platform.node() or not pid.isdigit():
        return False
    if started:
        return _started(int(pid)) != started
    with contextlib.suppress(PermissionError):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
    return False


def remove_abandoned() -> list[str]:
    """Remove the containers of runs that have ended, and name them. Raises SandboxUnavailable without a daemon."""
    client = connect()
    try:
        with daemon_errors("listing containers"):
            ours = client.containers(all=True, filters={"label": LABEL})
        gone = [each["Id"] for each in ours if is_abandoned(each["Labels"].get(RUN_LABEL, ""))]
        return [container[:12] for container in gone if remove_container(client, container)]
    finally:
        client.close()
