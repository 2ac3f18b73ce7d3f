"""Bodies of calls: read strictly at once, and leniently when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import json

from nightrate.dialects import tolerant
from nightrate.dialects.refusals import located
from nightrate.dialects.spelling import Remedies, Shape
from nightrate.errors import Refused

Read = TypeVar("Read")
Made = TypeVar("Made")


class Body(Generic[Read]):
    """Reads bodies of one shape.

    A body in the usual spelling is decoded once, into its shape. Only when that fails is it read
    as Google's parser takes it, and what is refused then is named as the client wrote it.

    Args:
        kind: the shape; its members have camelCase names on the wire.
        remedies: sentences for mistakes that are known.
    """

    def __init__(self, kind: type[Read], remedies: Remedies | None = None) -> None:
        self._decode = json.Decoder(kind).decode
        self._shape = Shape(kind, remedies)

    def make(self, body: bytes, made: Callable[[Read], Made]) -> Made:
        """Read a body, and make something of it.

        Raises:
            BadRequest: it is malformed.
            Refused: by ``made``, with the path of the field as the client wrote it.
        """
        try:
            tolerant.check_depth_of(body)
            typed = self._decode(body)
        except (ValueError, RecursionError):
            return self.make_of_tree(tolerant.loads(body), made)
        try:
            return made(typed)
        except Refused as error:
            if error.field is None:
                raise
            # A name in snake_case is no hindrance where nobody looks into a member's shape.
            raise located(error, tolerant.loads(body), "") from error

    def make_of_tree(self, tree: object, made: Callable[[Read], Made], at: str = "") -> Made:
        """Read a decoded body in either spelling; ``at`` is its path, for messages.

        Raises:
            Refused: as `make`.
        """
        spelled = self._shape.read(tree, at)
        try:
            return made(spelled)
        except Refused as error:
            raise located(error, tree, at) from error
