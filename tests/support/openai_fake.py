"""A server on loopback that answers an OpenAI client as it is told to, misbehaviour included, and counts what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """One answer. `cut` breaks the connection after the body; `silent` gives no answer at all until the server is closed."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False


def failure(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"error": {"message": message, "type": "test", "code": code}}), named)


def chat(content: str | None, finish_reason: str = "stop", **message: Any) -> Reply:
    answer = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choices = [{"index": 0, "message": answer, "finish_reason": finish_reason}]
    return Reply(body=json.dumps({"id": "1", "object": "chat.completion", "created": 1, "choices": choices, "usage": usage}))


def stream(*texts: str, finish_reason: str | None = "stop", usage: bool = True, cut: bool = False) -> Reply:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in texts]
    if finish_reason is not None:
        chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": finish_reason}]})
    if usage:
        chunks.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    lines = [f"data: {json.dumps({'id': '1', 'object': 'text_completion', 'created': 1, **chunk})}\n\n" for chunk in chunks]
    return Reply(
        body="".join([*lines, "" if cut else "data: [DONE]\n\n"]), headers={"Content-Type": "text/event-stream"}, cut=cut
    )


class FakeOpenAI:
    """Gives the replies in order, the last one again and again. `requests` holds (path, body, headers) of each request."""

    def __init__(self, *replies: Reply) -> None:
        self.replies: Sequence[Reply] = replies
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = fake.replies[min(len(fake.requests), len(fake.replies) - 1)]
                fake.requests.append((self.path, body, dict(self.headers)))
                if reply.silent:
                    fake._closing.wait(60)
                    self.close_connection = True
                    return
                encoded = reply.body.encode()
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                # A cut answer promises more than it holds.
                self.send_header("Content-Length", str(len(encoded) + 100 * reply.cut))
                self.end_headers()
                self.wfile.write(encoded)
                self.close_connection = reply.cut

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                pass

        return Handler
