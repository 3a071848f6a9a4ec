"""The daemon, as the box needs it: the one module that imports `docker`, and only when it is asked to connect."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from sandbox.contract import SandboxError, SandboxUnavailable

# The library's low-level client. Its types are known in part only, and naming them would import it.
Client: TypeAlias = Any

USUAL_SOCKET = "unix:///var/run/docker.sock"
ANSWER_SECONDS = 60.0  # how long one ordinary request may take
PULL_SILENCE_SECONDS = 45.0  # a registry that says nothing for so long is taken to be out of reach


def connect() -> Client:
    """A client of the daemon that DOCKER_HOST names, or of the usual socket. Raises SandboxUnavailable when none answers."""
    try:
        import docker
        import docker.utils
    except ImportError as reason:
        raise SandboxUnavailable(f"docker: its Python client cannot be imported ({reason}); `pip install docker`") from reason
    try:
        settings = docker.utils.kwargs_from_env()
        _knock(settings.get("base_url") or USUAL_SOCKET)
        return docker.APIClient(version="auto", timeout=int(ANSWER_SECONDS), **settings)
    except Exception as reason:
        # Besides its own exceptions the client lets those of HTTP, TLS and plain sockets through.
        raise SandboxUnavailable(
            f"docker: no daemon answers ({_brief(reason)}); start it (`systemctl start docker`, or Docker Desktop), or set "
            "DOCKER_HOST to one that runs; where it runs already, this user may lack access to its socket (group `docker`)"
        ) from reason


def _knock(address: str) -> None:
    """Raise OSError where a socket file has nobody behind it; the client would say the same less plainly, and leak a socket."""
    if not address.startswith("unix://"):
        return
    path = address.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(ANSWER_SECONDS)
        try:
            knocking.connect(path)
        except OSError as reason:
            raise OSError(f"{path}: {reason.strerror or reason}") from reason


@contextmanager
def daemon_errors(doing: str) -> Iterator[None]:
    """Turn what the daemon or the way to it complains of into a SandboxError that begins with `doing`."""
    import docker.errors
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError) as reason:
        raise SandboxError(f"docker: {doing}: {_brief(reason)}") from reason


def _brief(reason: BaseException) -> str:
    """The part of the client's many-layered messages that a person can use, on one line."""
    explanation = getattr(reason, "explanation", None)
    text = explanation if isinstance(explanation, str) and explanation else str(reason)
    return " ".join(text.split())[:300] or type(reason).__name__


def daemon_facts(client: Client) -> dict[str, str]:
    """What is worth telling about the daemon."""
    with daemon_errors("asking the daemon about itself"):
        facts = client.info()
    return {
        "daemon": str(facts.get("ServerVersion", "")),
        "architecture": str(facts.get("Architecture", "")),
        "storage": str(facts.get("Driver", "")),
        "cgroups": f"v{facts.get('CgroupVersion', '1')}",
        "runtimes": ", ".join(sorted(facts.get("Runtimes") or {})),
    }


def inspect_image(client: Client, reference: str) -> dict[str, Any] | None:
    """What the daemon knows about an image it has, or None."""
    import docker.errors

    with daemon_errors(f"looking for the image {reference}"):
        try:
            found: dict[str, Any] = client.inspect_image(reference)
        except docker.errors.NotFound:
            return None
        return found


def remove_container(client: Client, container: str) -> bool:
    """End and remove a container; never raises. False when it was gone already or would not go."""
    # The daemon's own removal at exit and ours may meet: then it answers 404 or 409, and the container goes all the same.
    try:
        client.remove_container(container, force=True, v=True)
    except Exception:
        return False
    return True


class Attached:
    """A container's standard streams over the connection of the attach request, taken over from HTTP."""

    def __init__(self, client: Client, container: str) -> None:
        stream = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._stream: Any = stream  # its owner: closing or losing it would close the connection under us
        # Plain connections come wrapped in a file object; those under TLS come as they are.
        self.socket: socket.socket = getattr(stream, "_sock", stream)

    def end(self) -> None:
        """Stop both directions at once, which wakes whoever is waiting to receive; never raises."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back to the system; never raises."""
        response = getattr(self._stream, "_response", None)
        owners: tuple[Any, ...] = (response, self._stream, self.socket)
        for owner in owners:
            with suppress(Exception):
                owner.close()


def pull(client: Client, reference: str, say: Callable[[str], None]) -> None:
    """Fetch an image from its registry. Raises SandboxError when it cannot be had, also when the registry stays silent."""
    events: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()

    def fetch() -> None:
        try:
            for event in client.pull(reference, stream=True, decode=True):
                events.put(event)
        except BaseException as reason:
            events.put(reason)
        else:
            events.put(None)

    # The client sets no limit on this one request, so its silence is measured from outside; the daemon gives up by itself.
    threading.Thread(target=fetch, name="mtpb-pull", daemon=True).start()
    told: set[str] = set()
    with daemon_errors(f"pulling {reference}"):
        while True:
            try:
                event = events.get(timeout=PULL_SILENCE_SECONDS)
            except queue.Empty:
                raise SandboxError(f"docker: pulling {reference}: no word for {PULL_SILENCE_SECONDS:.0f} s") from None
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            if "error" in event:
                raise SandboxError(f"docker: pulling {reference}: {event['error']}")
            status = str(event.get("status", ""))
            if status and "id" not in event and status not in told:
                told.add(status)
                say(status)
