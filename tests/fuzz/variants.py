"""A request said in other ways: other spellings of its path, damaged bytes, odd headers.

Making a case from a description takes 40 ms, sending it one. So each case is sent in many variants,
which no description would hold.
"""

from __future__ import annotations

import http.client
import random
import re
import urllib.parse
from collections.abc import Iterator

import requests
from msgspec import Struct

CALL_SECONDS = 30.0

_VERSION = re.compile(r"/v1(alpha|beta)?/")
TOKENS = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"\\u0000", b"\r\n", b"'"),
    *(b"[" * 200, b'{"a":' * 120, b"1e999", b"9" * 400, b"-0", b"NaN", b"null", b"//x\n", b"#"),
    *(b'"', b",", b"}", b"]", b'{"":', b'"contents":[', b"\xed\xa0\x80", b"\\"),
]
_HEADERS: dict[str, list[str]] = {
    "Content-Type": [
        "",
        "text/plain",
        "multipart/related",
        "application/json; charset=utf-16",
        "jsonl",
    ],
    "Content-Encoding": ["gzip", "identity", "br, gzip"],
    "X-Goog-Upload-Protocol": ["resumable", "raw", "multipart", "RAW", "?"],
    "X-Goog-Upload-Command": ["start", "upload", "upload, finalize", "query", "cancel", ",", "x"],
    "X-Goog-Upload-Offset": ["0", "1", "-1", "9" * 30, "1.5", "\u0661"],
    "X-Goog-Upload-Header-Content-Length": ["0", "99999999999999999999", "x", "1"],
    "X-Forwarded-Host": ["example.com", "a b", "[::1]", "x,y", "%00", "/"],
    "X-Forwarded-Proto": ["https", "javascript", ""],
    "X-Forwarded-Prefix": ["/nightrate", "//", "../..", "/a?b"],
    "Range": [
        "bytes=0-0",
        "bytes=-1",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=" + "9" * 30 + "-",
        "x",
    ],
    "If-Range": ['"x"', "Sun, 22 Nov 2026 02:00:00 GMT"],
    "Authorization": ["Bearer x", "Basic eA==", ""],
    "Content-Range": ["bytes 0-3/4", "bytes */*", "bytes 4-0/1", "bytes 0-0/" + "9" * 25],
}
_QUERY: dict[str, list[str]] = {
    "pageSize": ["0", "-1", "1", "99999999999999999999", "x", "\u0663"],
    "pageToken": ["MTox", "%", "", "x" * 500],
    "alt": ["sse", "json", "media", "?"],
    "updateMask": ["displayName", "*", "state", ",", "display_name,priority"],
    "upload_id": ["nothing", "%00", "../x"],
    "uploadType": ["media", "multipart", "resumable", "RESUMABLE", "x"],
    "key": ["any", ""],
    "follow": ["true", "false"],
    "dryRun": ["true", "0"],
    "filter": ["state=X"],
    "webhook_id": ["a", "A!", "-", "a" * 80],
    "$alt": ["json"],
}


class Sent(Struct):
    """A request as bytes on a connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Answered(Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """A connection that is kept, and made anew when the server closes it."""

    def __init__(self, base_url: str) -> None:
        place = urllib.parse.urlsplit(base_url)
        self._connection = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=CALL_SECONDS
        )

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def send(self, sent: Sent) -> Answered | None:
        """Send a request; None where this client cannot say it, or was cut off and tried twice."""
        for _ in range(2):
            try:
                self._connection.request(sent.method, sent.target, sent.body, sent.headers)
                answer = self._connection.getresponse()
                body = answer.read()
            except (http.client.InvalidURL, ValueError, UnicodeEncodeError):
                self._connection.close()
                return None
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()  # refused before it was sent whole, or an old connection
                continue
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, found, body)
        return None


def variants(sent: Sent, chance: random.Random, count: int) -> Iterator[Sent]:
    """Say a request in so many other ways."""
    for _ in range(count):
        varied = Sent(sent.method, sent.target, dict(sent.headers), sent.body)
        for change in chance.sample(_CHANGES, chance.randint(1, 3)):
            change(varied, chance)
        yield varied


def _exact(sent: Sent, _chance: random.Random) -> None:
    if not sent.target.startswith("/exact"):
        sent.target = f"/exact{sent.target}"


def _version(sent: Sent, chance: random.Random) -> None:
    sent.target = _VERSION.sub(f"/{chance.choice(['v1', 'v1beta', 'v1alpha'])}/", sent.target, 1)


def _colon(sent: Sent, _chance: random.Random) -> None:
    path, mark, query = sent.target.partition("?")
    sent.target = path.replace(":", "%3A") + mark + query


def _query(sent: Sent, chance: random.Random) -> None:
    name = chance.choice(list(_QUERY))
    value = urllib.parse.quote(chance.choice(_QUERY[name]), safe="%")
    sent.target += f"{'&' if '?' in sent.target else '?'}{name}={value}"


def _header(sent: Sent, chance: random.Random) -> None:
    name = chance.choice(list(_HEADERS))
    sent.headers[name] = chance.choice(_HEADERS[name]).encode().decode("latin-1")


def _cut(sent: Sent, chance: random.Random) -> None:
    if sent.body:
        sent.body = sent.body[: chance.randrange(len(sent.body))]


def _flip(sent: Sent, chance: random.Random) -> None:
    if sent.body:
        body = bytearray(sent.body)
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        sent.body = bytes(body)


def _put(sent: Sent, chance: random.Random) -> None:
    if sent.body:
        place = chance.randrange(len(sent.body) + 1)
        sent.body = sent.body[:place] + chance.choice(TOKENS) + sent.body[place:]


def _swap(sent: Sent, chance: random.Random) -> None:
    """Move a stretch of the body elsewhere."""
    if sent.body:
        first, last = sorted(chance.choices(range(len(sent.body) + 1), k=2))
        piece, rest = sent.body[first:last], sent.body[:first] + sent.body[last:]
        place = chance.randrange(len(rest) + 1)
        sent.body = rest[:place] + piece + rest[place:]


def _single(sent: Sent, _chance: random.Random) -> None:
    if sent.body:
        sent.body = sent.body.replace(b'"', b"'")


_CHANGES = [_exact, _version, _colon, _query, _header, _cut, _flip, _put, _put, _swap, _single]


def from_prepared(request: requests.PreparedRequest) -> Sent:
    """Take a request that another client has made, without what that client says of its length."""
    place = urllib.parse.urlsplit(str(request.url))
    target = place.path + (f"?{place.query}" if place.query else "")
    dropped = {"content-length", "transfer-encoding", "connection", "accept-encoding"}
    kept = {
        str(name): value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
        if name.lower() not in dropped
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    plain = body if isinstance(body, bytes) else None
    return Sent(str(request.method), target or "/", kept, plain)
