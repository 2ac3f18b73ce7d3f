"""A batch as people run it today: a script that sends a file of requests and writes the answers.

Written the obvious way, as vLLM's ``run_batch`` is: read all lines, a task for each, a semaphore,
one aiohttp session, gather, and write everything at the end. Nothing is kept until then. Run as
``python -m bench.plain_client INPUT OUTPUT BASE_URL CONCURRENCY``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

ATTEMPTS = 3


async def _ask(
    session: aiohttp.ClientSession, places: asyncio.Semaphore, base_url: str, row: dict[str, Any]
) -> dict[str, Any]:
    async with places:
        for attempt in range(ATTEMPTS):
            try:
                async with session.post(f"{base_url}/chat/completions", json=row["body"]) as answer:
                    answer.raise_for_status()
                    body = await answer.json()
                    return {"custom_id": row["custom_id"], "response": {"body": body}}
            except aiohttp.ClientError as error:
                if attempt == ATTEMPTS - 1:
                    return {"custom_id": row["custom_id"], "error": str(error)}
        raise AssertionError("every attempt ends")


async def run(rows: list[dict[str, Any]], base_url: str, concurrency: int) -> list[dict[str, Any]]:
    """Send every request; gives the answers in their order."""
    places = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=600)
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers
    ) as session:
        return await asyncio.gather(*(_ask(session, places, base_url, row) for row in rows))


def main(source: Path, output: Path, base_url: str, concurrency: int) -> None:
    """Read a file, send it, and write the answers."""
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    answers = asyncio.run(run(rows, base_url, concurrency))
    with output.open("w", encoding="utf-8") as file:
        for answer in answers:
            file.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _, _source, _output, _base_url, _concurrency = sys.argv
    main(Path(_source), Path(_output), _base_url, int(_concurrency))
