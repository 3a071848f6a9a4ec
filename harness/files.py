"""Reading what users hand in: bounded, and refused in words."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from harness.errors import ProblemError

MOST_BYTES = 2 << 30  # unpacked; sample files of a whole suite stay far below


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A UTF-8 file, gzipped or not, with or without a byte order mark. Raises ProblemError that begins with `FILE:LINE`."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
        except (OSError, EOFError) as error:
            raise ProblemError(f"{path}:1: not a whole gzip file ({error})") from None
        if len(data) > most:
            raise ProblemError(f"{path}:1: more than {most >> 20} MiB when unpacked; split the file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProblemError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None
