"""What any server must at least do to take a file and to give one, and nothing else.

A Starlette application on uvicorn with the settings of `nightrate.serving`: no keys, no database,
no digest, no checksum, no bounds. ``POST /upload`` appends the body to a file and syncs it at the
end, with ``?sync=BYTES`` also each time so many have come; ``GET /download`` sends a file in pieces
of 512 KiB that a thread reads. Run as ``python -m bench.bare_doors FOLDER``; prints its address.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

PIECE_BYTES = 512 * 1024


class _Doors:
    """The two handlers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def upload(self, request: Request) -> Response:
        sync_bytes = int(request.query_params.get("sync", sys.maxsize))
        unsynced_bytes = 0
        with (self._folder / "uploaded").open("wb", buffering=1 << 20) as file:
            async for piece in request.stream():
                file.write(piece)
                unsynced_bytes += len(piece)
                if unsynced_bytes >= sync_bytes:
                    file.flush()
                    await asyncio.to_thread(os.fdatasync, file.fileno())
                    unsynced_bytes = 0
            file.flush()
            await asyncio.to_thread(os.fdatasync, file.fileno())
        return PlainTextResponse("taken")

    async def download(self, _request: Request) -> Response:
        path = self._folder / "downloaded"
        headers = {"content-length": str(path.stat().st_size)}
        return StreamingResponse(_pieces(path), headers=headers)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


def main(folder: Path) -> None:
    """Serve on a free port."""
    doors = _Doors(folder)
    app = Starlette(
        routes=[
            Route("/upload", doors.upload, methods=["POST"]),
            Route("/download", doors.download, methods=["GET"]),
        ]
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
        )
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
