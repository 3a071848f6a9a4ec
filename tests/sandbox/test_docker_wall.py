"""The wall made of a Docker container: what it lets through, what it keeps in, and that nothing outlives its harness."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox import SandboxError, SandboxUnavailable
from sandbox.bootstrap import PACKAGES
from sandbox.docker_client import connect
from sandbox.docker_wall import (
    KEPT_STDERR_BYTES,
    RUN_LABEL,
    DockerWall,
    Frames,
    is_abandoned,
    remove_abandoned,
    this_run,
)
from sandbox.wall import ChannelClosed

ECHO = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line)\n    sys.stdout.buffer.flush()"
SLEEP = "import time; time.sleep(600)"
MEMORY_MIB = 256
ANSWER_SECONDS = 30.0


def frame(stream: int, content: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(content)) + content


def lines_of(frames: Frames) -> list[bytes]:
    lines = []
    while (line := frames.line()) is not None:
        lines.append(line)
    return lines


@pytest.mark.parametrize("step", [1, 3, 8, 1000])
def test_frames_may_be_cut_anywhere(step: int) -> None:
    received = frame(1, b"one\ntw") + frame(2, b"oh\n") + frame(1, b"o\n") + frame(1, b"") + frame(1, b"\nrest")
    frames = Frames()
    lines = []
    for at in range(0, len(received), step):
        frames.feed(received[at : at + step])
        lines += lines_of(frames)
    assert lines == [b"one", b"two", b""]
    assert frames.stderr == b"oh\n"


def test_only_the_end_of_stderr_is_kept() -> None:
    frames = Frames()
    for _ in range(10):
        frames.feed(frame(2, b"x" * KEPT_STDERR_BYTES))
    frames.feed(frame(2, b"the end"))
    assert len(frames.stderr) == KEPT_STDERR_BYTES
    assert frames.stderr.endswith(b"xthe end")


def test_an_endless_line_is_refused_and_not_held() -> None:
    frames = Frames(max_line_bytes=1000)
    frames.feed(frame(1, b"x" * 900))
    with pytest.raises(SandboxError, match="line of over 1000 bytes"):
        frames.feed(frame(1, b"x" * 900))


def test_a_run_is_abandoned_only_when_its_own_process_has_ended() -> None:
    host, pid, started = this_run().rsplit("/", 2)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_abandoned(this_run())
    assert not is_abandoned(f"elsewhere-{host}/{ended.pid}/1")
    assert not is_abandoned("")
    assert is_abandoned(f"{platform.node()}/{ended.pid}/1")
    if started:
        assert is_abandoned(f"{host}/{pid}/{int(started) + 1}"), "the process id is in use again, by another process"


def test_a_dead_daemon_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxUnavailable, match=r"docker: no daemon answers .* start it .* DOCKER_HOST"):
        DockerWall("any")


@pytest.fixture
def wall(docker_image: str) -> Iterator[DockerWall]:
    with closing(DockerWall(docker_image)) as opened:
        yield opened


def tell(wall: DockerWall, source: str) -> Any:
    """What a guest that prints one line of JSON said."""
    channel = wall.start(["-I", "-c", source], MEMORY_MIB)
    try:
        return json.loads(channel.receive(ANSWER_SECONDS))
    finally:
        channel.kill()


def inspect(wall: DockerWall) -> dict[str, Any]:
    """What the daemon says about a guest's container."""
    channel = wall.start(["-I", "-c", SLEEP], MEMORY_MIB)
    with closing(connect()) as client:
        try:
            return dict(client.inspect_container(channel.container))
        finally:
            channel.kill()


def is_there(container: str) -> bool:
    with closing(connect()) as client:
        return bool(client.containers(all=True, filters={"id": container}))


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


@pytest.mark.docker
def test_lines_go_in_and_come_back_whole(wall: DockerWall) -> None:
    channel = wall.start(["-I", "-c", ECHO], MEMORY_MIB)
    long = b"x" * 3_000_000
    try:
        for line in (b"hello", b"", long, "Grüße".encode()):
            channel.send(line)
            assert channel.receive(ANSWER_SECONDS) == line
    finally:
        channel.kill()


@contextmanager
def forwarded_to(socket_file: str) -> Iterator[int]:
    """A TCP port on loopback behind which the listener of a socket file answers."""

    def forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while received := source.recv(65_536):
                target.sendall(received)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(socket_file)
                connections.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=forward, args=pair))
                    threads[-1].start()

    listening = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve)
    server.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        server.join()
        for each in connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for each in (listening, *connections):
            each.close()


@pytest.mark.docker
def test_a_daemon_over_tcp_serves_as_well(docker_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        pytest.skip(f"DOCKER_HOST is {address} already; this test forwards a socket file")
    with forwarded_to(address.removeprefix("unix://")) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        with closing(DockerWall(docker_image)) as wall:
            channel = wall.start(["-I", "-c", ECHO], MEMORY_MIB)
            channel.send(b"x" * 1_000_000)
            assert channel.receive(ANSWER_SECONDS) == b"x" * 1_000_000
            channel.kill()
            assert not is_there(channel.container)


@pytest.mark.docker
def test_a_silent_guest_is_a_timeout_and_stays_usable(wall: DockerWall) -> None:
    channel = wall.start(["-I", "-c", ECHO], MEMORY_MIB)
    try:
        with pytest.raises(TimeoutError):
            channel.receive(0.05)
        channel.send(b"still there")
        assert channel.receive(ANSWER_SECONDS) == b"still there"
    finally:
        channel.kill()


@pytest.mark.docker
def test_a_guest_that_ends_closes_the_channel_and_its_last_words_are_told(wall: DockerWall) -> None:
    channel = wall.start(["-I", "-c", "import sys; sys.exit('no more')"], MEMORY_MIB)
    with pytest.raises(ChannelClosed, match="no more"):
        channel.receive(ANSWER_SECONDS)
    assert wait_until(lambda: not is_there(channel.container), 5), "an ended container is removed by itself"
    channel.kill()


@pytest.mark.docker
def test_a_kill_from_another_thread_wakes_the_receiver_and_removes_the_container(wall: DockerWall) -> None:
    channel = wall.start(["-I", "-c", f"print('up', flush=True); {SLEEP}"], MEMORY_MIB)
    assert channel.receive(ANSWER_SECONDS) == b"up"
    killer = threading.Thread(target=channel.kill)
    killer.start()
    with pytest.raises(ChannelClosed):
        channel.receive(ANSWER_SECONDS)
    killer.join()
    assert not is_there(channel.container)
    channel.kill()
    with pytest.raises(ChannelClosed):
        channel.send(b"anyone")


@pytest.mark.docker
def test_nothing_is_left_when_the_harness_is_killed(wall: DockerWall) -> None:
    source = (
        "import sys, time\nfrom sandbox.docker_wall import DockerWall\n"
        "channel = DockerWall(sys.argv[1]).start(['-I', '-c', sys.argv[2]], 256)\n"
        "channel.send(b'up')\nchannel.receive(30)\nprint(channel.container, flush=True)\ntime.sleep(600)"
    )
    harness = subprocess.Popen([sys.executable, "-c", source, wall.image, ECHO], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    with harness.stdout:
        container = harness.stdout.readline().strip()
        assert is_there(container)
        os.kill(harness.pid, signal.SIGKILL)
        harness.wait()
    assert wait_until(lambda: not is_there(container), 5), "the guest saw no end of its input"


@pytest.mark.docker
def test_the_container_has_no_network(wall: DockerWall) -> None:
    assert tell(wall, "import json, socket; print(json.dumps([name for _, name in socket.if_nameindex()]), flush=True)") == [
        "lo"
    ]


@pytest.mark.docker
@pytest.mark.parametrize("folder", ["/", "/box", "/etc", "/var/tmp", "/run"])
def test_nothing_outside_the_scratch_can_be_written(wall: DockerWall, folder: str) -> None:
    source = (
        "said = 'written'\ntry:\n    open(FOLDER + '/file', 'w').close()\nexcept OSError as reason:\n    said = reason.errno\n"
        "import json; print(json.dumps(said), flush=True)"
    )
    read_only_file_system = 30
    assert tell(wall, source.replace("FOLDER", repr(folder))) == read_only_file_system


@pytest.mark.docker
def test_the_scratch_is_private_and_of_limited_size(wall: DockerWall) -> None:
    source = (
        "import json, os\nkept = open('/tmp/left', 'x')\n"
        "state = os.statvfs('/tmp')\nmib = state.f_blocks * state.f_frsize >> 20\n"
        "print(json.dumps([os.getcwd(), oct(os.stat('/tmp').st_mode & 0o7777), mib]), flush=True)"
    )
    assert tell(wall, source) == ["/tmp", "0o1777", 256]
    assert tell(wall, source) == ["/tmp", "0o1777", 256], "what one guest left is not there for the next"


@pytest.mark.docker
def test_root_in_the_container_holds_three_capabilities_and_gains_none(wall: DockerWall) -> None:
    source = (
        "import json\nlines = open('/proc/self/status').read().splitlines()\n"
        "fields = dict(line.split(':\\t') for line in lines if ':\\t' in line)\n"
        "print(json.dumps([fields[name] for name in ('CapBnd', 'CapEff', 'NoNewPrivs', 'Seccomp')]), flush=True)"
    )
    kill, setgid, setuid = 5, 6, 7
    capabilities = f"{1 << kill | 1 << setgid | 1 << setuid:016x}"
    seccomp_filter = "2"
    assert tell(wall, source) == [capabilities, capabilities, "1", seccomp_filter]


@pytest.mark.docker
def test_the_environment_tells_nothing_of_the_host(wall: DockerWall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    environment = tell(wall, "import json, os; print(json.dumps(dict(os.environ)), flush=True)")
    assert environment["HOSTNAME"] == "box"
    assert environment["HOME"] == "/tmp"
    assert "OPENAI_API_KEY" not in environment


@pytest.mark.docker
def test_the_daemon_holds_the_container_to_its_limits(wall: DockerWall) -> None:
    told = inspect(wall)
    host_config = told["HostConfig"]
    memory = MEMORY_MIB * 2**20
    assert (host_config["Memory"], host_config["MemorySwap"]) == (memory, memory)
    assert host_config["PidsLimit"] == 512
    assert host_config["ShmSize"] == 64 * 2**20
    assert host_config["IpcMode"] == "private"
    assert host_config["LogConfig"]["Type"] == "none"
    assert told["Config"]["Labels"][RUN_LABEL] == this_run()


@pytest.mark.docker
def test_a_guest_over_its_memory_is_ended(wall: DockerWall) -> None:
    channel = wall.start(["-I", "-c", "kept = [bytes(range(256)) * 4096 for _ in range(4096)]; print('held')"], 64)
    with pytest.raises(ChannelClosed):
        channel.receive(ANSWER_SECONDS)
    channel.kill()


@pytest.mark.docker
def test_programs_can_import_the_packages_of_the_image(wall: DockerWall) -> None:
    from sandbox.image import REQUIREMENTS

    source = (
        f"import sys\nsys.path.append({PACKAGES!r})\nimport json, numpy, pandas\n"
        "print(json.dumps([numpy.__version__, pandas.__version__, numpy.__cached__, pandas.__cached__]), flush=True)"
    )
    numpy, pandas, *bytecode = tell(wall, source)
    assert {f"numpy=={numpy}", f"pandas=={pandas}"} <= set(REQUIREMENTS)
    assert all(
        tell(wall, f"import os; print('true' if os.path.isfile({each!r}) else 'false', flush=True)") for each in bytecode
    )


@pytest.mark.docker
def test_zones_and_user_ids_without_a_name_work(wall: DockerWall) -> None:
    source = (
        "import json, os, tempfile, zoneinfo\nos.setgroups([])\nos.setgid(54321)\nos.setuid(54321)\n"
        f"import sys\nsys.path.append({PACKAGES!r})\nimport numpy\n"
        "with tempfile.TemporaryFile() as file:\n    file.write(b'x')\n"
        "print(json.dumps([os.getuid(), os.path.expanduser('~'), str(zoneinfo.ZoneInfo('Europe/Paris'))]), flush=True)"
    )
    assert tell(wall, source) == [54321, "/tmp", "Europe/Paris"]


@pytest.mark.docker
def test_an_unknown_image_and_an_unknown_runtime_are_refused(docker_image: str) -> None:
    with pytest.raises(SandboxUnavailable, match=r"no image mtpb-no-such:1 .* `mtpb sandbox build`"):
        DockerWall("mtpb-no-such:1")
    with (
        closing(DockerWall(docker_image, runtime="no-such-runtime")) as wall,
        pytest.raises(SandboxError, match="no-such-runtime"),
    ):
        wall.start(["-I", "-c", SLEEP], MEMORY_MIB)


@pytest.mark.docker
def test_the_containers_of_a_run_that_goes_on_are_not_collected(wall: DockerWall) -> None:
    running = wall.start(["-I", "-c", ECHO], MEMORY_MIB)
    try:
        assert running.container[:12] not in remove_abandoned()
        running.send(b"still here")
        assert running.receive(ANSWER_SECONDS) == b"still here"
    finally:
        running.kill()
