"""A row of a batch, read: what is asked, and what goes back beside the answer, in every dialect."""

from __future__ import annotations

from msgspec import Struct

from nightrate.domain.batch import InputFault
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Asked, Failure, Outcome

AskedOfRow = Asked | tuple[Passage, ...]
"""What a row can ask: one thing, or the vectors of several passages."""

OutcomeOfRow = Outcome | tuple[Embedding, ...]
"""How a row ended; vectors in the order of their passages."""


class Echo(Struct, frozen=True, gc=False):
    """What goes back beside the answer, as the JSON text the client gave."""

    key: bytes | None = None
    metadata: bytes | None = None
    extras: dict[str, bytes] = {}
    """Members of the line that mean nothing here."""


class ParsedLine(Struct, frozen=True, gc=False):
    """A line: what to echo, and what it asks or why that cannot be asked."""

    echo: Echo
    prompt: AskedOfRow | Failure
    fault: InputFault | None = None
    """Set where the whole input is to be refused for this line."""
