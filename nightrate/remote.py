"""Calls to a server over HTTP, for programs that are not the server."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct, json

from nightrate import limits
from nightrate.errors import Fault

DEFAULT_BASE_URL = "http://127.0.0.1:8080"
"""Where ``nightrate serve`` listens when nothing else is said."""

VERSION = "v1beta"


class CallFailed(Fault):
    """The server refused a call, or could not be reached."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status; None when there was no answer."""


class _Error(Struct):
    message: str


class _Complaint(Struct):
    error: _Error


class Remote(Struct, frozen=True):
    """A server, as a client knows it."""

    base_url: str = DEFAULT_BASE_URL
    """Without a slash at its end."""
    api_key: str = ""

    def document(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """Make a call about a resource, such as ``batches/abc``, and give its answer.

        Raises:
            CallFailed: the server refused it, or could not be reached.
        """
        url = f"{self.base_url}/{VERSION}/{quote(path, safe='/:')}"
        if query:
            url += f"?{urlencode(query)}"
        with self.open(method, url, body, {"Content-Type": "application/json"}) as answer:
            return answer.read()

    def download(self, name: str, *, follow: bool = False) -> HTTPResponse:
        """Open the bytes of a file; with ``follow``, of one that grows, until it does no more.

        Raises:
            CallFailed: there is no such file, or the server could not be reached.
        """
        url = f"{self.base_url}/download/{VERSION}/{quote(name)}:download?alt=media"
        if follow:
            return self.open("GET", f"{url}&follow=true", timeout_seconds=None)
        return self.open("GET", url)

    def open(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_seconds: float | None = limits.CLIENT_TIMEOUT_SECONDS,
    ) -> HTTPResponse:
        """Make a call to a whole URL.

        Raises:
            CallFailed: the server refused it, or could not be reached.
            ValueError: the URL is not one of HTTP.
        """
        require_http(url)
        sent = {**(headers or {}), **({"x-goog-api-key": self.api_key} if self.api_key else {})}
        request = urllib.request.Request(url, body, sent, method=method)  # noqa: S310 - checked
        try:
            answer: HTTPResponse = urllib.request.urlopen(  # noqa: S310 - checked
                request, timeout=timeout_seconds
            )
        except urllib.error.HTTPError as error:
            with error:
                raise CallFailed(_complaint(error.read(), error.code), code=error.code) from error
        except OSError as error:
            place = urlsplit(url)
            message = f"{place.scheme}://{place.netloc} did not answer: {error}"
            raise CallFailed(message) from error
        return answer


def pieces(answer: HTTPResponse) -> Iterator[bytes]:
    """Give what an answer holds, each piece as soon as it is there.

    Raises:
        CallFailed: it broke off in the middle.
    """
    broken = "The server's answer broke off in the middle; ask again."
    try:
        while piece := answer.read1(limits.READ_BYTES):
            yield piece
    except (http.client.HTTPException, OSError) as error:
        raise CallFailed(broken) from error
    if answer.length:
        raise CallFailed(broken)


def _complaint(body: bytes, code: int) -> str:
    """Give the sentence of an error document; what is between may answer with anything."""
    try:
        return json.decode(body, type=_Complaint).error.message
    except msgspec.MsgspecError:
        return f"The call failed with HTTP status {code}."


def require_http(url: str) -> None:
    """Check the address of a server.

    Raises:
        ValueError: it is not one of HTTP.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(f"{url} is no address that begins with http:// or https://")
