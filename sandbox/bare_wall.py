"""No wall at all: for `--sandbox none`, after explicit consent only."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sandbox.channel import ProcessChannel
from sandbox.wall import Channel


class BareWall:
    """Runs guests as ordinary processes of this user: nothing is sealed but memory, CPU time and output."""

    name = "none"
    image = ""

    def start(self, python_arguments: Sequence[str], memory_mib: int) -> Channel:
        return ProcessChannel([sys.executable, *python_arguments], {})

    def close(self) -> None:
        pass
