"""Seeds that depend on what is asked, never on when: order, batch size, resumption and worker count change nothing."""

from __future__ import annotations

import hashlib


def derive_seed(run_seed: int, problem: str, case: str, sample: int, turn: int) -> int:
    """A 31-bit seed, a function of its arguments alone; the same on every machine and Python."""
    name = "\0".join((str(run_seed), problem, case, str(sample), str(turn)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") & 0x7FFF_FFFF
