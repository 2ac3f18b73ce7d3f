"""HTTP as bytes: what the parser refuses is answered like everything else."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nightrate.api.respond import JSON
from nightrate.dialects import gemini as wire
from nightrate.errors import BadRequest


class Protocol(HttpToolsProtocol):
    """The strictest parser of those measured; its refusals are JSON documents."""

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP request, and close: what follows them means nothing."""
        _, body = wire.render_error(BadRequest(msg))
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {JSON}\r\n"
            f"content-length: {len(body)}\r\n"
            "x-goog-upload-status: final\r\n"  # which door was meant is not known
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
