"""A server that answers chat completions with what it was asked: the model that all clients share.

A bare ASGI application on uvicorn, so that it costs little beside its clients. Run as
``python -m bench.echo_endpoint LATENCY_SECONDS``; prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from msgspec import Struct

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MODEL = "bench-echo"


class _Message(Struct):
    content: str
    role: str = "user"


class _Question(Struct):
    messages: list[_Message]
    model: str


class _Choice(Struct):
    message: _Message
    index: int = 0
    finish_reason: str = "stop"


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Completion(Struct):
    model: str
    choices: list[_Choice]
    usage: _Usage
    id: str = "chatcmpl-bench"
    object: str = "chat.completion"
    created: int = 0


_decode = msgspec.json.Decoder(_Question).decode
_encode = msgspec.json.Encoder().encode
_MODELS = _encode({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


def _answer(body: bytes) -> bytes:
    question = _decode(body)
    text = question.messages[-1].content
    tokens = len(text) // 4
    usage = _Usage(tokens, tokens, 2 * tokens)
    message = _Message(text, "assistant")
    return _encode(_Completion(question.model, [_Choice(message)], usage))


class _Endpoint:
    """The application."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency_seconds = latency_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/models"):
            content = _MODELS
        else:
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            if self._latency_seconds:
                await asyncio.sleep(self._latency_seconds)
            content = _answer(body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def main(latency_seconds: float) -> None:
    """Serve on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            _Endpoint(latency_seconds),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
        )
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main(float(sys.argv[1]))
