"""Bodies of several parts (RFC 2046), read as they arrive: what is held is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from email.message import Message

from nightrate import limits
from nightrate.errors import BadRequest, TooLarge

_BOUNDARY_CHARACTERS_MAX = 70
"""RFC 2046, section 5.1.1."""

_LINE = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_PADDING = b" \t"


class Parts:
    """The parts of one body, one after the other.

    Ask for a part with `next_head`, then read its `content` to the end before asking again.
    """

    def __init__(self, pieces: AsyncIterator[bytes], boundary: str) -> None:
        self._pieces = pieces
        self._delimiter = f"\r\n--{boundary}".encode("latin-1")
        # A body may begin with its first delimiter, whose line end is then that of the headers.
        self._held = bytearray(_LINE)
        self._preamble_read = False

    async def next_head(self) -> Mapping[str, str] | None:
        """Give the headers of the next part by their names in lower case; None after the last.

        Raises:
            BadRequest: the body is not what its header says, or ends in the middle.
            TooLarge: the headers, or what stands before the first part, are longer than
                `limits.HEADER_BYTES_MAX`.
        """
        if not self._preamble_read:
            await self._skip_preamble()
        await self._fill(2)
        if self._held.startswith(b"--"):
            return None
        while (end := self._held.find(_HEAD_END)) < 0:
            _require_bounded(len(self._held))
            await self._more()
        _require_bounded(end)
        head = bytes(self._held[:end])
        del self._held[: end + len(_HEAD_END)]
        padding, _, lines = head.partition(_LINE)
        if padding.strip(_PADDING):
            message = "The multipart body has a delimiter that does not end its line."
            raise BadRequest(message)
        return _fields(lines)

    async def content(self) -> AsyncIterator[bytes]:
        """Give the bytes of the part whose head was read, as they arrive.

        Raises:
            BadRequest: the body ends in the middle.
        """
        while (end := self._held.find(self._delimiter)) < 0:
            # The last bytes may be the beginning of a delimiter.
            sure = len(self._held) - len(self._delimiter) + 1
            if sure > 0:
                yield bytes(self._held[:sure])
                del self._held[:sure]
            await self._more()
        if end:
            yield bytes(self._held[:end])
        del self._held[: end + len(self._delimiter)]

    async def _skip_preamble(self) -> None:
        skipped = 0
        async for piece in self.content():
            skipped += len(piece)
            _require_bounded(skipped)
        self._preamble_read = True

    async def _fill(self, size: int) -> None:
        while len(self._held) < size:
            await self._more()

    async def _more(self) -> None:
        piece = await anext(self._pieces, None)
        if piece is None:
            message = "The multipart body ends before its last delimiter."
            raise BadRequest(message)
        self._held += piece


def boundary_of(content_type: str) -> str:
    """Find the boundary in the content type of a multipart body.

    Raises:
        BadRequest: it has none that can be used.
    """
    boundary = _header("content-type", content_type).get_param("boundary", "")
    text = boundary if isinstance(boundary, str) else ""
    if not (0 < len(text) <= _BOUNDARY_CHARACTERS_MAX and text.isascii() and text.isprintable()):
        most = _BOUNDARY_CHARACTERS_MAX
        message = (
            f"The Content-Type of a multipart body needs a boundary of 1 to {most} characters."
        )
        raise BadRequest(message)
    return text


def parameter(head: Mapping[str, str], header: str, name: str) -> str | None:
    """Give a parameter of a part's header, such as ``name`` of ``content-disposition``."""
    if header not in head:
        return None
    found = _header(header, head[header]).get_param(name, None, header)
    return found if isinstance(found, str) else None


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value
    return message


def _fields(lines: bytes) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in lines.split(_LINE):
        if not line:
            continue
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon or not name.strip() or name[0].isspace():
            message = "A part of the multipart body has a header without a name."
            raise BadRequest(message)
        fields[name.strip().lower()] = value.strip()
    return fields


def _require_bounded(size: int) -> None:
    if size > limits.HEADER_BYTES_MAX:
        most = limits.HEADER_BYTES_MAX
        message = f"The headers of a multipart body's part are longer than {most} bytes."
        raise TooLarge(message)
