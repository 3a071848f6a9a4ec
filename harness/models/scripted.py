"""A model that says what it is told to: a double for tests of everything that talks to a model."""

from __future__ import annotations

from collections.abc import Callable

from harness.nouns import Completion, Request


class ScriptedModel:
    """Answers with `answer(request)`: a Completion, a text (which becomes one), or an exception, which is raised.

    `requests` keeps every request in the order of arrival, `ended` every conversation that was reported ended, and `closed`
    tells whether `aclose` was called.
    """

    def __init__(
        self,
        answer: Callable[[Request], str | Completion | Exception],
        name: str = "scripted",
        *,
        protocols: tuple[str, ...] = ("completion", "chat-append"),
        deterministic: bool = True,
        digest: str = "",
    ) -> None:
        self.name = name
        self.protocols = protocols
        self.deterministic = deterministic
        self.digest = digest
        self.requests: list[Request] = []
        self.ended: list[tuple[str, str, int]] = []
        self.closed = False
        self._answer = answer

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        match self._answer(request):
            case Completion() as completion:
                return completion
            case Exception() as error:
                raise error
            case text:
                return Completion(text)

    def conversation_ended(self, conversation: tuple[str, str, int]) -> None:
        self.ended.append(conversation)

    async def aclose(self) -> None:
        self.closed = True
