"""What the server says about itself: one JSON object a line, and figures for Prometheus.

Never logged: bodies, prompts, answers, keys, query strings, webhook secrets. A message of an
exception that is not our own may quote its input, so only its type and the places in the code are
written.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, TextIO

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, generate_latest

from nightrate import clock
from nightrate.errors import Fault

_LOGGER = logging.getLogger("nightrate")
_TELLING = (Fault, OSError, AssertionError)
"""Exceptions whose messages are written by us or by the operating system."""


ANSWERS = Counter("nightrate_answers", "Requests of sealed shards.", ["outcome"])
TOKENS = Counter("nightrate_tokens", "Tokens of sealed shards.", ["kind"])
IN_FLIGHT = Gauge("nightrate_engine_requests", "Prompts that an engine has now.", ["engine"])
READY = Gauge("nightrate_engine_ready", "Whether an engine takes prompts: 1 or 0.", ["engine"])


def metrics() -> tuple[bytes, str]:
    """Give every figure in Prometheus's text format, and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        line: dict[str, Any] = {
            "time": clock.rfc3339(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["trace"] = trace(record.exc_info[1])
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every record of this process to one stream, standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)


def event(name: str, **fields: object) -> None:
    """Tell that something ordinary happened."""
    _LOGGER.info(name, extra={"fields": fields})


def fault(name: str, error: BaseException, **fields: object) -> None:
    """Tell that something broke, with the places in the code it went through."""
    _LOGGER.error(name, extra={"fields": {**fields, "trace": trace(error)}})


def trace(error: BaseException) -> list[str]:
    """Describe an exception and what caused it, innermost first, without foreign messages."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        told = f": {current}" if isinstance(current, _TELLING) else ""
        lines.append(f"{type(current).__name__}{told}")
        frames = traceback.extract_tb(current.__traceback__)
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        hidden = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or hidden
    return lines
