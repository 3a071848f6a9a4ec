"""What one program may use, as the kernel is told."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from sandbox.guest import kernel

STACK_BYTES = 64 << 20
RESERVE_BYTES = 64 << 20  # so that a program out of memory can still say so
OPEN_FILES = 256


class Baseline(NamedTuple):
    """What the guest itself uses, which every program inherits and none has to answer for. In bytes."""

    data: int
    address_space: int
    anonymous: int

    @classmethod
    def measure(cls) -> Baseline:
        return cls(*(int(kernel.status_field(name).split()[0]) << 10 for name in ("VmData", "VmSize", "RssAnon")))


def apply(limits: dict[str, Any], baseline: Baseline) -> None:
    """Limit this process and what it starts."""
    cpu = max(1, math.ceil(limits["cpu_seconds"]))
    memory, file_size = limits["memory_mib"] << 20, limits["file_mib"] << 20
    # RLIMIT_DATA counts private writable memory, used or not: what programs mean by memory. Shared memory, and what
    # libraries only reserve, falls under the address space, a wide second fence.
    data = baseline.data + memory
    address_space = baseline.address_space + 4 * memory + (1 << 30)
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_DATA, data, data + RESERVE_BYTES),
        (resource.RLIMIT_AS, address_space, address_space),
        (resource.RLIMIT_FSIZE, file_size, file_size),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_STACK, STACK_BYTES, STACK_BYTES),
    ):
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, hard))
    os.umask(0o022)
    # Should the machine or the container run out of memory, then the program goes and nothing else.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")


def release_reserve() -> None:
    """Let this program use what was held back for its last words."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def tree_memory(baseline: Baseline) -> int:
    """Bytes of memory that all processes below this one use together, shared mappings included.

    What processes share after a fork is counted once for each.
    """
    return sum(max(0, _resident(pid) - baseline.anonymous) for pid in _descendants("self"))


def _descendants(pid: str) -> Iterator[str]:
    try:
        own = os.getpid() if pid == "self" else pid
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{own}/task/{thread}/children", encoding="ascii") as children:
                for child in children.read().split():
                    yield child
                    yield from _descendants(child)
    except OSError:  # it has ended meanwhile
        return


def _resident(pid: str) -> int:
    total = 0
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) << 10
    except OSError:
        return 0
    return total
