"""What the pool does about workers that are lost, and with programs that need the machine for themselves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sandbox import Ending, Limits, Program, SandboxError
from sandbox.bare_wall import BareWall
from sandbox.pool import ATTEMPTS, Pool
from sandbox.wall import Channel, ChannelClosed

READY = json.dumps({"ready": {"python": "3.11", "packages": {}, "separation": "none"}}).encode()
DONE = json.dumps({"execution": {"ending": "finished", "stdout": "42\n"}}).encode()
WALLED = json.dumps({"execution": {"ending": "timed_out", "detail": "wall"}}).encode()


class ScriptedChannel:
    """Answers the first line with READY, and those after it as `answer` says; None: it is gone."""

    def __init__(self, answer: Callable[[], bytes | None]) -> None:
        self.answer = answer
        self.sent = 0
        self.killed = False

    def send(self, line: bytes) -> None:
        if self.killed:
            raise ChannelClosed("killed")
        self.sent += 1

    def receive(self, timeout_seconds: float) -> bytes:
        if self.sent == 1:
            return READY
        answer = self.answer()
        if answer is None:
            raise ChannelClosed("gone")
        if answer == b"silence":
            raise TimeoutError
        return answer

    def kill(self) -> None:
        self.killed = True


class ScriptedWall:
    """Hands out scripted channels that take their answers from one list."""

    name, image = "none", ""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.channels: list[ScriptedChannel] = []
        self.closed = False

    def start(self, python_arguments: Sequence[str], memory_mib: int) -> Channel:
        self.channels.append(ScriptedChannel(lambda: self.answers.pop(0)))
        return self.channels[-1]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "lost", [None, b"silence", b"nonsense", b'{"execution": {"ending": "?"}}', b'{"failed": "no room"}', b"[]"]
)
def test_a_program_is_tried_again_on_a_fresh_worker_when_one_is_lost(lost: bytes | None) -> None:
    wall = ScriptedWall([lost, DONE])

    async def main() -> None:
        async with Pool(wall, 1) as pool:
            assert (await pool.run(Program("x"), Limits())).stdout == "42\n"

    asyncio.run(main())
    assert len(wall.channels) == 2
    assert all(channel.killed for channel in wall.channels)
    assert wall.closed


def test_a_program_that_loses_every_worker_is_our_failure() -> None:
    wall = ScriptedWall([None] * ATTEMPTS)

    async def main() -> None:
        async with Pool(wall, 1) as pool:
            with pytest.raises(SandboxError, match=r"lost its worker 3 times .* while running a program it ended: gone"):
                await pool.run(Program("x"), Limits())

    asyncio.run(main())
    assert len(wall.channels) == ATTEMPTS


def test_a_wall_timeout_counts_only_when_it_happens_alone() -> None:
    wall = ScriptedWall([WALLED, DONE])

    async def main() -> None:
        async with Pool(wall, 1) as pool:
            execution = await pool.run(Program("x"), Limits())
            assert (execution.ending, execution.earlier_attempts) == (Ending.FINISHED, ("wall",))

    asyncio.run(main())


def test_a_worker_is_replaced_after_its_share_of_programs() -> None:
    wall = ScriptedWall([DONE] * 5)

    async def main() -> None:
        async with Pool(wall, 1, programs_per_worker=2) as pool:
            for _ in range(5):
                await pool.run(Program("x"), Limits())

    asyncio.run(main())
    assert [channel.sent for channel in wall.channels] == [3, 3, 2]


def test_a_worker_that_something_was_left_in_is_replaced() -> None:
    wall = ScriptedWall([DONE[:-1] + b', "dirty": true}', DONE])

    async def main() -> None:
        async with Pool(wall, 1) as pool:
            await pool.run(Program("x"), Limits())
            await pool.run(Program("x"), Limits())

    asyncio.run(main())
    assert len(wall.channels) == 2


def test_a_program_that_may_use_more_memory_gets_a_larger_worker() -> None:
    wall = ScriptedWall([DONE, DONE])

    async def main() -> None:
        async with Pool(wall, 1) as pool:
            await pool.run(Program("x"), Limits(memory_mib=100))
            await pool.run(Program("x"), Limits(memory_mib=4000))

    asyncio.run(main())
    assert len(wall.channels) == 2


def test_the_bare_wall_runs_programs_too() -> None:
    async def main() -> None:
        async with Pool(BareWall(), 2) as pool:
            assert (await pool.facts()).wall == "none"
            results = await asyncio.gather(*(pool.run(Program(f"print({i})"), Limits()) for i in range(8)))
            assert [execution.stdout for execution in results] == [f"{i}\n" for i in range(8)]
            left = await pool.run(Program("import os\nos.fork() or os.execvp('sleep', ['sleep', '86417'])\nprint(1)"), Limits())
            assert left.ending is Ending.FINISHED

    asyncio.run(main())
    assert "86417" not in _command_lines()


def test_a_killed_worker_is_replaced_in_mid_program() -> None:
    async def main() -> None:
        async with Pool(BareWall(), 1) as pool:
            await pool.facts()
            (worker,) = pool._alive
            running = asyncio.create_task(pool.run(Program("import time\ntime.sleep(0.3)\nprint(42)"), Limits()))
            await asyncio.sleep(0.1)
            worker.kill()
            assert (await running).stdout == "42\n"

    asyncio.run(main())


def test_cancelling_and_closing_leave_no_worker() -> None:
    async def main() -> None:
        async with Pool(BareWall(), 2) as pool:
            running = [
                asyncio.create_task(pool.run(Program("import os\nos.execvp('sleep', ['sleep', '86423'])"), Limits()))
                for _ in range(4)
            ]
            while len(pool._alive) < 2:
                await asyncio.sleep(0.01)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(main())
    assert "86423" not in _command_lines()


def test_everything_goes_when_the_harness_is_killed(tmp_path: Path) -> None:
    source = textwrap.dedent("""\
        import asyncio, sys
        from sandbox import Limits, Program
        from sandbox.bare_wall import BareWall
        from sandbox.pool import Pool
        async def main():
            async with Pool(BareWall(), 1) as pool:
                await pool.facts()
                program = Program("import os\\nos.execvp('sleep', ['sleep', '86431'])")
                running = asyncio.create_task(pool.run(program, Limits(cpu_seconds=1000)))
                while True:
                    await asyncio.sleep(0.05)
                    print('going', flush=True)
        asyncio.run(main())
        """)
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + 60
        while "86431" not in _command_lines():
            assert process.stdout.readline() == b"going\n"
            assert time.monotonic() < deadline
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 5
    while "86431" in _command_lines():
        assert time.monotonic() < deadline


def _command_lines() -> str:
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep":
            lines.append(b" ".join(words).decode("utf-8", "replace"))
    return "\n".join(lines)
