"""Everything that is raised on purpose, in one tree.

::

    Fault                       all that we raise on purpose
    ├─ Refused                  the caller's doing; a dialect renders it
    │   ├─ BadRequest           the request is wrong (field, remedy)
    │   ├─ NoKey                nobody says who is calling
    │   ├─ BadKey               the key is none of ours, or not any more
    │   ├─ BadToken             the same, of one that came as a bearer token
    │   ├─ TooLarge             over a bound of `limits`
    │   ├─ NotFound             no such thing for this tenant
    │   │   ├─ MissingFile      no such file
    │   │   └─ MissingCache     no such cached content
    │   ├─ Conflict             the name is taken
    │   ├─ Precondition         right request, wrong moment
    │   ├─ OutOfRange           an offset or page token beyond what exists
    │   ├─ NotSupported         understood, but not served here
    │   ├─ OverQuota            a limit of the tenant is reached
    │   │   ├─ OverStorage      its files fill what they may
    │   │   └─ NoRoom           the disk is full but for its reserve
    │   └─ NotReady             try again in a moment
    ├─ EngineFault              raised by engines
    │   ├─ RequestFailed        this prompt (code, retriable, after)
    │   ├─ EngineBusy           the engine runs and takes nobody now: not the prompt's fault
    │   └─ EngineDown           the engine: not the prompt's fault, unless it keeps happening
    ├─ StoreFault               raised by the store
    │   ├─ InUse                another process holds the data directory
    │   ├─ ClaimLost            somebody else owns the shard: drop the work
    │   └─ Damaged              stored bytes are not what was written
    └─ SettingsFault            at start only: every problem at once
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Why something failed: the canonical codes of google.rpc.Code, which gRPC shares."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Fault(Exception):
    """Something went wrong in a way that was foreseen."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return str(self.args[0])


class Refused(Fault):
    """The request cannot be honoured."""

    code = Code.INVALID_ARGUMENT

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        """Path of the offending field as the client spelled its dialect, such as
        ``generationConfig.temperature``; None when no single field is to blame."""


class BadRequest(Refused):
    """The request is malformed."""


class NoKey(Refused):
    """This call needs an API key."""

    code = Code.PERMISSION_DENIED


class BadKey(Refused):
    """API key not valid."""


class BadToken(Refused):
    """The bearer token is not a valid API key."""

    code = Code.UNAUTHENTICATED


class TooLarge(Refused):
    """The request is larger than this server accepts."""


class NotFound(Refused):
    """There is no such resource."""

    code = Code.NOT_FOUND


class MissingFile(NotFound):
    """There is no such file; a wire may answer this apart from other things that are missing."""

    def __init__(self, message: str, file_id: str) -> None:
        super().__init__(message)
        self.file_id = file_id


class MissingCache(NotFound):
    """There is no such cached content; a wire may answer this apart, as with files."""


class Conflict(Refused):
    """A resource of that name exists already."""

    code = Code.ALREADY_EXISTS


class Precondition(Refused):
    """The resource is not in a state that allows this."""

    code = Code.FAILED_PRECONDITION


class OutOfRange(Refused):
    """The offset or page lies beyond what exists."""

    code = Code.OUT_OF_RANGE


class NotSupported(Refused):
    """This server does not serve that option."""

    code = Code.UNIMPLEMENTED


class OverQuota(Refused):
    """A limit of this server is reached; try again later."""

    code = Code.RESOURCE_EXHAUSTED

    def __init__(
        self,
        message: str = "",
        *,
        quota: str | None = None,
        most: int | None = None,
        retry_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.quota = quota
        """The setting or the limit that is reached, by its name."""
        self.most = most
        """Its value."""
        self.retry_seconds = retry_seconds
        """When another try may succeed; None when waiting alone does not help."""


class OverStorage(OverQuota):
    """The files of the tenant fill what they may."""


class NoRoom(OverQuota):
    """The server's disk is nearly full and has no room for this; try again when space was freed."""


class NotReady(Refused):
    """The server is not ready for this yet; try again in a moment."""

    code = Code.UNAVAILABLE


class EngineFault(Fault):
    """An engine could not answer."""


class RequestFailed(EngineFault):
    """The engine refused or failed this one prompt."""

    def __init__(
        self,
        message: str = "",
        *,
        code: Code = Code.INTERNAL,
        retriable: bool = False,
        after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retriable = retriable
        self.after_seconds = after_seconds
        """How long the engine asks us to wait before another try."""


class EngineBusy(EngineFault):
    """The engine runs, but answers nobody now: a rate limit, an overload, a broken connection.

    It says nothing of the prompt, so no try of it is counted: one of a batch waits, however long.
    ``in_flight`` tells that the engine had the prompt when a connection broke, or when it failed as
    it fails for others. That happens to many now and then; a prompt to which it happens again and
    again, for longer than such times last, is to blame after all.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: Code = Code.UNAVAILABLE,
        after_seconds: float | None = None,
        in_flight: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.after_seconds = after_seconds
        """How long the engine asks us to wait before another try."""
        self.in_flight = in_flight


class EngineDown(EngineFault):
    """The engine is not running.

    ``in_flight`` tells whether this prompt had been handed over when the engine went down. A prompt
    that is in flight again and again when its engine dies is the likely cause.
    """

    def __init__(self, message: str = "", *, in_flight: bool = False) -> None:
        super().__init__(message or "The engine is not running.")
        self.in_flight = in_flight


class StoreFault(Fault):
    """The store could not do what was asked."""


class InUse(StoreFault):
    """Another process holds the data directory."""


class ClaimLost(StoreFault):
    """Another owner holds this shard now; the work in hand no longer counts."""


class Damaged(StoreFault):
    """Stored bytes are not what was written; the message names the file."""


class SettingsFault(Fault):
    """The settings cannot be used; ``problems`` lists every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
