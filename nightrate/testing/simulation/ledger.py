"""What the clients of a world asked for and what they were told: half of every promise."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field, json

from nightrate.domain.batch import BatchForm, Dialect, Kind, Method
from nightrate.testing.simulation.chance import Chance

MODEL: Final = "m"


class Fate(StrEnum):
    """How a request fares."""

    OK = "ok"
    FLAKY = "flaky"
    STUBBORN = "stubborn"
    BAD = "bad"
    POISON = "poison"
    MALFORMED = "malformed"

    @property
    def succeeds(self) -> bool:
        """Whether a batch that is let finish has an answer for it."""
        return self in {Fate.OK, Fate.FLAKY}


class Line(Struct, frozen=True):
    """One request."""

    key: str
    text: str
    fate: Fate
    data: bytes


class Word(StrEnum):
    """What is known of a call that changes something."""

    NEVER = "never asked"
    ASKED = "asked, and not answered"
    KNOWN = "acknowledged"


class Ordered(Struct, kw_only=True):
    """A batch as its client knows it; `name` is its display name, which no other has."""

    tenant: str
    name: str
    kind: Kind
    lines: tuple[Line, ...]
    uris: tuple[str, ...]
    batch_id: str | None = None
    created: Word = Word.NEVER
    cancelled: Word = Word.NEVER
    deleted: Word = Word.NEVER
    state_seen: str = ""
    results_seen: dict[str, bytes] = field(default_factory=dict)
    """The longest content that was read of each file."""

    @property
    def spoiled(self) -> bool:
        """Whether its input fails the whole batch."""
        bad = any(line.fate is Fate.MALFORMED for line in self.lines)
        return bad and self.kind.unique_keys

    def may_be_gone(self) -> bool:
        """Tell whether somebody asked for its end, so that its bytes may be missing."""
        return self.deleted is not Word.NEVER


class Stored(Struct, kw_only=True):
    """An uploaded file as its client knows it."""

    tenant: str
    file_id: str
    data: bytes
    deleted: Word = Word.NEVER

    @property
    def sha256(self) -> str:
        """Its digest."""
        return hashlib.sha256(self.data).hexdigest()


class Ledger:
    """All of it."""

    def __init__(self) -> None:
        self.orders: dict[str, Ordered] = {}
        """By display name."""
        self.files: dict[tuple[str, str], Stored] = {}

    def of(self, tenant: str) -> list[Ordered]:
        """Give the orders of a tenant whose batch is known."""
        return [one for one in self.orders.values() if one.tenant == tenant and one.batch_id]


KINDS: Final = (
    Kind(BatchForm.FILE, Method.GENERATE, Dialect.GEMINI),
    Kind(BatchForm.FILE, Method.GENERATE, Dialect.GEMINI),
    Kind(BatchForm.INLINE, Method.GENERATE, Dialect.GEMINI),
    Kind(BatchForm.FILE, Method.EMBED, Dialect.GEMINI),
    Kind(BatchForm.FILE, Method.GENERATE, Dialect.OPENAI),
)


def write_lines(chance: Chance, kind: Kind, count: int) -> tuple[Line, ...]:
    """Write the requests of an order; the first one can always be read."""
    fates = [chance.one_of(list(Fate)) if chance.happens(0.25) else Fate.OK for _ in range(count)]
    if kind.unique_keys and not chance.happens(0.1):
        fates = [Fate.BAD if fate is Fate.MALFORMED else fate for fate in fates]
    fates[0] = Fate.OK if fates[0] is Fate.MALFORMED else fates[0]
    return tuple(_line(chance, kind, number, fate) for number, fate in enumerate(fates))


def _line(chance: Chance, kind: Kind, number: int, fate: Fate) -> Line:
    """Write one request: its text tells its fate and is nobody else's."""
    times = f" {chance.whole(1, 4)}" if fate is Fate.FLAKY else ""
    padding = "x" * chance.one_of((0, 0, 30, 200))
    text = f"{fate}{times} {number} {chance.new_id(6)} {padding}".rstrip()
    key, broken = str(number), fate is Fate.MALFORMED
    if kind.dialect is Dialect.OPENAI:
        body = {"model": MODEL, "messages": 5 if broken else [{"role": "user", "content": text}]}
        row = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        if broken:
            del row["url"]
        return Line(key, text, fate, json.encode(row))
    content = {"parts": [{"text": text}]}
    request: dict[str, Any] = {"contents": [content]}
    if broken:
        request = {"contents": 5, "content": 5}
    elif kind.method is Method.EMBED:
        request = {"content": content}
    if kind.form is BatchForm.INLINE:
        return Line(key, text, fate, json.encode({"request": request, "metadata": {"key": key}}))
    return Line(key, text, fate, json.encode({"key": key, "request": request}))
