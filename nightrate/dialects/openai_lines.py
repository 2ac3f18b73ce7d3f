"""Lines of OpenAI's batch files, read into prompts.

What is wrong with the envelope of a line spoils the whole file, as the original service has it: the
line cannot be told from others, or belongs elsewhere. What is wrong inside ``body`` is the failure
of that line, and says what the live call would have said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn

from msgspec import json

from nightrate import limits
from nightrate.dialects import tolerant
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.openai_chats import prompt_of_chat, read_chat
from nightrate.dialects.openai_embeddings import PACKED, embedding_call, read_embeddings
from nightrate.dialects.openai_endpoints import method_of
from nightrate.dialects.openai_shapes import Body, ChatBody, EmbeddingBody, Line
from nightrate.dialects.refusals import unserved
from nightrate.dialects.row import AskedOfRow, Echo, ParsedLine
from nightrate.dialects.spelling import quoted
from nightrate.domain.batch import BatchForm, InputFault, Method
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, Code, Refused

_NO_ECHO: Final = Echo()
_MEMBERS: Final = "custom_id", "method", "url", "body"
_MISPLACED: Final = {*ChatBody.__struct_fields__, *EmbeddingBody.__struct_fields__}

_decode = json.Decoder().decode
_encode = json.Encoder().encode

INVALID_JSON = "invalid_json_line"
MISSING = "missing_required_parameter"
INVALID = "invalid_value"
UNKNOWN = "unknown_parameter"
MISMATCHED_URL = "mismatched_endpoint"
MISMATCHED_MODEL = "model_mismatch"
REPEATED_ID = "duplicate_custom_id"
MORE = "too_many_errors"

EMPTY_FILE: Final = InputFault("empty_file", "The input holds no request: every line is blank.")


def repeated_id(line: int, first_line: int) -> InputFault:
    """Tell of a line whose id another line has."""
    message = f"Line {line}: its custom_id is that of line {first_line}."
    return InputFault(REPEATED_ID, message, line, "custom_id")


def unlisted_faults(count: int) -> InputFault:
    """Tell how many faults are not listed."""
    return InputFault(MORE, f"... and {count} more.")


class _Spoiled(Exception):
    """The envelope of a line is wrong."""

    def __init__(self, code: str, why: str, field: str | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.field = field


def model_of_line(line: bytes | None) -> str | None:
    """Give the model that a line asks for; None if that cannot be read from it."""
    try:
        model = _decode(line or b"")["body"]["model"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return bare_model(model) if isinstance(model, str) and model else None


class _Lines(Generic[Body]):
    """Reads the lines of one endpoint.

    Args:
        method: what the endpoint is for.
        decode: reads a line of the right shape.
        read: reads a body, or says what is wrong with it.
        ask: makes of a body what is asked, and what is wanted back beside the answer.
    """

    def __init__(
        self,
        method: Method,
        decode: Callable[[bytes], Line[Body]],
        read: Callable[[bytes], Body],
        ask: Callable[[Body], tuple[AskedOfRow, dict[str, bytes]]],
    ) -> None:
        self._method = method
        self._decode = decode
        self._read = read
        self._ask = ask

    def parse(self, line: bytes | None, number: int, form: BatchForm, model: str) -> ParsedLine:
        """Read one line; see `parse_chat_line`."""
        assert form is BatchForm.FILE, "OpenAI has no inline batches"
        try:
            if line is None:
                most = limits.LINE_BYTES_MAX // limits.MIB
                _spoil(INVALID_JSON, f"it is longer than {most} MiB.")
            return self._parse(line, model)
        except _Spoiled as error:
            message = f"Line {number}: {error.why}"
            fault = InputFault(error.code, message, number, error.field)
            failure = Failure(Code.INVALID_ARGUMENT, message, error.field)
            return ParsedLine(_salvaged(line), failure, fault)

    def _parse(self, line: bytes, model: str) -> ParsedLine:
        body: Body
        try:
            tolerant.check_depth_of(line)
            row = self._decode(line)
            custom_id, body = row.custom_id, row.body
            self._check(custom_id, row.method, row.url, body.model, model)
        except (ValueError, RecursionError, Refused):
            tree = _tree(line)
            _check_shape(tree)
            custom_id = tree["custom_id"]
            self._check(custom_id, tree["method"], tree["url"], tree["body"]["model"], model)
            try:
                body = self._read(_encode(tree["body"]))
            except Refused as error:
                return ParsedLine(Echo(_encode(custom_id)), _failure(error))
        try:
            asked, extras = self._ask(body)
        except Refused as error:
            return ParsedLine(Echo(_encode(custom_id)), _failure(error))
        return ParsedLine(Echo(_encode(custom_id), None, extras), asked)

    def _check(self, custom_id: str, method: str, url: str, asked: str, model: str) -> None:
        """Check what a line must share with the others, and what not."""
        if not custom_id:
            _spoil(MISSING, "custom_id: it is empty.", "custom_id")
        if method != "POST":
            _spoil(INVALID, f'method: "{quoted(method)}" is not "POST".', "method")
        if method_of(url) is not self._method:
            why = f'url: "{quoted(url)}" is not the endpoint of the batch.'
            _spoil(MISMATCHED_URL, why, "url")
        if not asked:
            _spoil(MISSING, "body.model: it is empty.", "body.model")
        if bare_model(asked) != model:
            why = f'body.model: "{quoted(asked)}" is not the model of the first line, "{model}".'
            _spoil(MISMATCHED_MODEL, why, "body.model")


def _failure(error: Refused) -> Failure:
    return Failure(error.code, error.message, error.field)


def _chat(body: ChatBody) -> tuple[AskedOfRow, dict[str, bytes]]:
    if body.stream:
        raise unserved("stream", "Leave it out: a batch has no streams.")
    return prompt_of_chat(body), {}


def _embeddings(body: EmbeddingBody) -> tuple[AskedOfRow, dict[str, bytes]]:
    call = embedding_call(body)
    return call.passages, {PACKED: b"true"} if call.packed else {}


def _spoil(code: str, why: str, field: str | None = None) -> NoReturn:
    raise _Spoiled(code, why, field)


def _check_shape(tree: dict[str, Any]) -> None:
    """Check that a line has its members, and that they are what they must be."""
    for name in tree:
        if name not in _MEMBERS:
            remedy = ' Put it inside "body".' if name in _MISPLACED else ""
            _spoil(UNKNOWN, f"{quoted(name)}: it is not known here.{remedy}", quoted(name))
    for name in _MEMBERS:
        if tree.get(name) is None:
            _spoil(MISSING, f"{name}: it is missing.", name)
    for name in _MEMBERS[:3]:
        if not isinstance(tree[name], str):
            _spoil(INVALID, f"{name}: it is no text.", name)
    body = tree["body"]
    if not isinstance(body, dict):
        _spoil(INVALID, "body: it is no JSON object.", "body")
    asked = body.get("model")
    if asked is None:
        _spoil(MISSING, "body.model: it is missing.", "body.model")
    if not isinstance(asked, str):
        _spoil(INVALID, "body.model: it is no text.", "body.model")


def _tree(line: bytes) -> dict[str, Any]:
    try:
        tree = _decode(line)
        if isinstance(tree, dict):
            tolerant.check_depth(tree)
            return tree
    except (ValueError, RecursionError) as error:
        byte = tolerant.position(error, len(line))
        place = "" if byte is None else f" near byte {byte}"
        _spoil(INVALID_JSON, f"it is no JSON{place}: {tolerant.reason(error)}.")
    except BadRequest as error:
        _spoil(INVALID_JSON, error.message)
    _spoil(INVALID_JSON, "it is no JSON object.")


def _salvaged(line: bytes | None) -> Echo:
    """Take the id of a line that is wrong, if it has one."""
    try:
        custom_id = _decode(line or b"")["custom_id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return _NO_ECHO
    return Echo(_encode(custom_id)) if isinstance(custom_id, str) and custom_id else _NO_ECHO


_CHATS: Final = _Lines(Method.GENERATE, json.Decoder(Line[ChatBody]).decode, read_chat, _chat)
_EMBEDDINGS: Final = _Lines(
    Method.EMBED, json.Decoder(Line[EmbeddingBody]).decode, read_embeddings, _embeddings
)


def parse_chat_line(line: bytes | None, number: int, form: BatchForm, model: str) -> ParsedLine:
    """Read one line that asks for a chat completion.

    Args:
        line: the JSON text; None for a line beyond `limits.LINE_BYTES_MAX`.
        number: the number in messages, from 1.
        form: a line of a file; this dialect has no other.
        model: the model of the batch, without ``models/``.
    """
    return _CHATS.parse(line, number, form, model)


def parse_passages_line(line: bytes | None, number: int, form: BatchForm, model: str) -> ParsedLine:
    """Read one line that asks for embeddings, of one text or several; as `parse_chat_line`."""
    return _EMBEDDINGS.parse(line, number, form, model)
