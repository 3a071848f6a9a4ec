"""Which wall the box gets on this machine, why, and what is missing where there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox.contract import Ending, Limits, Program, SandboxError, SandboxUnavailable
from sandbox.wall import Wall

if TYPE_CHECKING:
    from sandbox.pool import Pool

KINDS = ("auto", "docker", "bubblewrap", "none")
CONSENT_FLAG = "--i-accept-running-untrusted-code"

Say = Callable[[str], None]


def open_sandbox(
    kind: str,
    *,
    workers: int,
    base: str | None = None,
    consent: bool = False,
    runtime: str | None = None,
    say: Say,
) -> Pool:
    """A box of the wanted kind, to be entered as an asynchronous context manager; nothing is started before that.

    `kind` is "auto", "docker", "bubblewrap" or "none"; `base` and `runtime` are for Docker alone. What was chosen and why
    goes to `say`. Raises SandboxUnavailable, with what to install, when there is none to be had: then nothing runs.
    """
    from sandbox.pool import Pool

    return Pool(open_wall(kind, base=base, consent=consent, runtime=runtime, say=say), workers=workers)


def open_wall(kind: str, *, base: str | None = None, consent: bool = False, runtime: str | None = None, say: Say) -> Wall:
    """The wall that `open_sandbox` puts around its workers."""
    candidates: dict[str, Callable[[], Wall]] = {
        "docker": lambda: docker_wall(base=base, runtime=runtime, say=say),
        "bubblewrap": bubblewrap_wall,
    }
    match kind:
        case "auto":
            return first_usable(list(candidates.items()), say)
        case "docker" | "bubblewrap":
            wall = candidates[kind]()
            say(f"sandbox: {kind}, as asked for")
            return wall
        case "none":
            return _no_wall(consent, say)
        case _:
            raise SandboxUnavailable(f"--sandbox {kind}: there is no such kind; choose one of {', '.join(KINDS)}")


def first_usable(candidates: Sequence[tuple[str, Callable[[], Wall]]], say: Say) -> Wall:
    """The first wall that can be had, telling why those before it cannot. Raises SandboxUnavailable with every reason."""
    refusals: list[str] = []
    for name, open_ in candidates:
        try:
            wall = open_()
        except SandboxError as reason:
            refusals.append(str(reason))
            say(f"sandbox: not {name}: {reason}")
        else:
            say(f"sandbox: {name}")
            return wall
    reasons = "".join(f"\n  - {each}" for each in refusals)
    raise SandboxUnavailable(
        f"no box to run untrusted programs in, so nothing was run. One of these must be mended:{reasons}\n"
        "`mtpb sandbox doctor` checks again."
    )


def docker_wall(*, base: str | None = None, runtime: str | None = None, say: Say) -> Wall:
    """Docker's wall with the box image, built now if it is not here. Raises SandboxError when it cannot be had."""
    from sandbox.docker_wall import DockerWall
    from sandbox.image import ensure_image

    return DockerWall(ensure_image(base, say), runtime=runtime)


def bubblewrap_wall() -> Wall:
    """Bubblewrap's wall. Raises SandboxUnavailable when it does not work here."""
    from sandbox.bubblewrap_wall import BubblewrapWall, why_unusable

    reason = why_unusable()
    if reason is not None:
        raise SandboxUnavailable(reason)
    return BubblewrapWall()


def _no_wall(consent: bool, say: Say) -> Wall:
    from sandbox.bare_wall import BareWall

    if not consent:
        raise SandboxUnavailable(
            f"--sandbox none runs what a model wrote as an ordinary program of yours, unsealed; add {CONSENT_FLAG} if that is "
            "what you want, or choose another --sandbox"
        )
    say("sandbox: none, as asked for: PROGRAMS RUN UNSEALED, with all your rights")
    return BareWall()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found out about one wall on this machine."""

    wall: str
    usable: bool
    reason: str = ""  # when not usable: the fact and what to do
    facts: Mapping[str, str] = field(default_factory=dict)


def diagnose() -> list[Diagnosis]:
    """Look at each wall without starting or building anything."""
    return [_diagnose_docker(), _diagnose_bubblewrap()]


def _diagnose_docker() -> Diagnosis:
    from sandbox.docker_client import connect, daemon_facts
    from sandbox.image import find_image, image_tag

    facts: dict[str, str] = {}
    try:
        client = connect()
        try:
            facts |= daemon_facts(client)
        finally:
            client.close()
        image = find_image()
    except SandboxError as reason:
        return Diagnosis("docker", usable=False, reason=str(reason), facts=facts)
    if image is None:
        missing = (
            f"docker: its daemon answers, but the box image {image_tag()} is not built yet; `mtpb sandbox build`, or without a "
            "registry `mtpb sandbox build --base debootstrap`"
        )
        return Diagnosis("docker", usable=False, reason=missing, facts=facts)
    return Diagnosis("docker", usable=True, facts={**facts, "image": f"{image_tag()} ({image})"})


def _diagnose_bubblewrap() -> Diagnosis:
    try:
        bubblewrap_wall().close()
    except SandboxError as reason:
        return Diagnosis("bubblewrap", usable=False, reason=str(reason))
    return Diagnosis("bubblewrap", usable=True)


def prove(found: Diagnosis) -> Diagnosis:
    """Start a worker behind a wall found usable and run one program in it; say how that went."""
    if not found.usable:
        return found
    try:
        facts = asyncio.run(_prove(found.wall))
    except SandboxError as reason:
        return replace(found, usable=False, reason=f"{found.wall}: it looks usable, but running a program failed: {reason}")
    return replace(found, facts={**found.facts, **facts})


async def _prove(kind: str) -> dict[str, str]:
    from sandbox.pool import Pool

    began = time.monotonic()
    async with Pool(open_wall(kind, say=lambda _: None), workers=1) as box:
        inside = await box.facts()
        started = time.monotonic()
        execution = await box.run(Program("print(6 * 7)"), Limits())
        ended = time.monotonic()
    if execution.ending is not Ending.FINISHED or execution.stdout != "42\n":
        raise SandboxError(f"print(6 * 7) ended as {execution.ending} ({execution.detail}) and printed {execution.stdout!r}")
    packages = ", ".join(f"{name} {inside.packages[name]}" for name in ("numpy", "pandas") if name in inside.packages)
    return {
        "python": inside.python,
        "packages": packages or "neither numpy nor pandas: programs that import them will fail",
        "start": f"{started - began:.2f} s",
        "one program": f"{ended - started:.3f} s",
    }


def collect_garbage(*, images: bool = False) -> list[str]:
    """Remove the containers of runs that have ended and, if asked, old box images; tells what was removed.

    Raises SandboxUnavailable without a daemon. The other walls leave nothing behind that could be collected.
    """
    from sandbox.docker_wall import remove_abandoned
    from sandbox.image import remove_old_images

    removed = [f"container {each}" for each in remove_abandoned()]
    if images:
        removed += [f"image {each}" for each in remove_old_images()]
    return removed
