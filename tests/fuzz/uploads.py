"""Uploads in every form, sound and damaged, against a real server; and what they left.

A model of each session knows which bytes were taken. Whatever was sent in between, the file that
comes out holds exactly these.
"""

from __future__ import annotations

import random
import socket
import urllib.parse
from collections import Counter
from collections.abc import Mapping

import msgspec

from tests.fuzz.generated import judge
from tests.fuzz.variants import CALL_SECONDS, TOKENS, Answered, Line, Sent, variants

_START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
_TAKEN = {200, 308}
_KNOWN = {200, 308, 400, 401, 403, 404, 409, 416, 429, 501, 503, 504}


class Uploads:
    """Sends uploads to one server."""

    def __init__(self, base_url: str, seed: int, headers: Mapping[str, str] | None = None) -> None:
        self.answers: Counter[str] = Counter()
        self.requests = 0
        self._line = Line(base_url)
        self._place = urllib.parse.urlsplit(base_url)
        self._headers = dict(headers or {})
        self._chance = random.Random(seed)

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()

    def run(self, count: int) -> None:
        """Make at least so many requests."""
        while self.requests < count:
            self._chance.choice((self.pieces, self.ranges, self.parts, self.odd, self.raw_bytes))()

    def pieces(self) -> None:
        """Google's resumable protocol: pieces ahead, behind, cut and repeated."""
        chance, kept = self._chance, b""
        upload = self._begin(_START, "x-goog-upload-url")
        for _ in range(chance.randint(0, 5)):
            piece = chance.randbytes(chance.choice([0, 1, 40, 3000]))
            offset = max(0, len(kept) + chance.choice([0, 0, 0, -1, -50, 1, 10**12]))
            headers = {"x-goog-upload-command": "upload", "x-goog-upload-offset": str(offset)}
            answer = self._say("POST", upload, headers, piece)
            if answer.status == 200:
                assert offset <= len(kept), "a hole"
                kept += piece[len(kept) - offset :]
            assert int(answer.headers.get("x-goog-upload-size-received", len(kept))) == len(kept)
            strange = upload.replace("upload_id=", "upload_id=x")
            self._vary("POST", strange, headers, piece)
        if chance.random() < 0.1:
            assert self._say("POST", upload, {"x-goog-upload-command": "cancel"}, b"").status == 200
            return
        headers = {
            "x-goog-upload-command": "upload, finalize",
            "x-goog-upload-offset": str(len(kept)),
        }
        self._finish(self._say("POST", upload, headers, b"end"), kept + b"end")

    def ranges(self) -> None:
        """The older protocol: ``PUT`` with a ``Content-Range``."""
        chance = self._chance
        upload = self._begin({}, "location", "?uploadType=resumable")
        whole = chance.randbytes(chance.choice([1, 2, 500]))
        cut = chance.randrange(len(whole) + 1)
        odd = chance.choice(["bytes 5-2/9", "bytes */*", "bytes 0-0/0", "x", "bytes 0-9"])
        self._say("PUT", upload, {"content-range": odd}, b"")
        held = b""
        for piece in (whole[:cut], whole[cut:]):
            if piece:
                last = len(held) + len(piece) - 1
                told = {"content-range": f"bytes {len(held)}-{last}/{len(whole)}"}
                answer = self._say("PUT", upload, told, piece)
                assert answer.status in _TAKEN, (told, answer)
                held += piece
        self._finish(answer, whole)

    def parts(self) -> None:
        """Two parts in one body; damaged ones become files only as what they are."""
        chance = self._chance
        boundary = chance.choice(["a", "=_b", "x" * 70, "--"])
        content = chance.choice(
            [b"", b"\r\n", b"--", b"\r\n--" + boundary.encode()[:-1], b"abc\n" * 9]
        )
        body = b'--%s\r\n\r\n{"file":{}}\r\n--%s\r\ncontent-type: a/b\r\n\r\n%s\r\n--%s--\r\n' % (
            *(boundary.encode(), boundary.encode(), content, boundary.encode()),
        )
        quoted = f'multipart/related; boundary="{boundary}"'
        headers = {"x-goog-upload-protocol": "multipart", "content-type": quoted}
        self._finish(self._say("POST", "/upload/v1beta/files", headers, body), content)
        self._vary("POST", "/upload/v1beta/files", headers, body)

    def odd(self) -> None:
        """Calls that fit no protocol."""
        chance = self._chance
        body = chance.choice(
            [b"", b"{}", b'{"file":{"displayName":"x","mimeType":"a/b"}}', b"\xff"]
        )
        if chance.random() < 0.5:
            place = chance.randrange(len(body) + 1)
            body = body[:place] + chance.choice(TOKENS) + body[place:]
        start = chance.choice([_START, {"x-goog-upload-protocol": "raw"}, {}])
        self._vary(chance.choice(["POST", "PUT"]), "/upload/v1/files", start, body)

    def raw_bytes(self) -> None:
        """Bytes that are hardly HTTP: an error or a closed connection, soon, and never a hang."""
        chance = self._chance
        head = (
            f"POST /upload/v1/files HTTP/1.1\r\nHost: {self._place.netloc}\r\n"
            "X-Goog-Upload-Protocol: raw\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
        ).encode()
        for name, value in self._headers.items():
            head += f"{name}: {value}\r\n".encode()
        data = bytearray(head + b"\r\n3\r\nabc\r\n0\r\n\r\n")
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 2)] = chance.choice([*TOKENS, b"\n", b" ", b":"])
        address = (str(self._place.hostname), int(self._place.port or 80))
        with socket.create_connection(address, CALL_SECONDS) as connection:
            connection.sendall(bytes(data))
            connection.shutdown(socket.SHUT_WR)  # nothing more comes: whoever waits for it hangs
            said = b""
            while True:
                try:
                    piece = connection.recv(65536)
                except ConnectionResetError:  # it closed with our bytes unread
                    break
                if not piece:
                    break
                said += piece
        self.requests += 1
        status = int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0
        self.answers[f"raw {status}"] += 1
        if status:
            head, _, body = said.partition(b"\r\n\r\n")
            judge("raw", repr(bytes(data)), status, body)

    # ------------------------------------------------------------------------------------------

    def _begin(self, headers: Mapping[str, str], where: str, query: str = "") -> str:
        answer = self._say("POST", f"/upload/v1beta/files{query}", headers, b"{}")
        assert answer.status == 200, answer
        place = urllib.parse.urlsplit(answer.headers[where])
        return f"{place.path}?{place.query}"

    def _finish(self, answer: Answered, content: bytes) -> None:
        """Judge the end of an upload by the bytes of its file, and remove it."""
        assert answer.status == 200, answer
        file = msgspec.json.decode(answer.body)["file"]
        assert file["sizeBytes"] == str(len(content))
        path = f"/v1beta/{file['name']}"
        held = self._say("GET", f"/download{path}:download", {}, None)
        assert (held.status, held.body) == (200, content)
        assert self._say("DELETE", path, {}, None).status == 200

    def _say(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answered:
        answer = self._send(Sent(method, target, {**self._headers, **headers}, body))
        assert answer is not None, (method, target)
        return answer

    def _vary(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        sent = Sent(method, target, {**self._headers, **headers}, body)
        for varied in variants(sent, self._chance, 3):
            self._send(varied)

    def _send(self, sent: Sent) -> Answered | None:
        answer = self._line.send(sent)
        if answer is None:
            return None
        judge(sent.method, sent.target, answer.status, answer.body)
        assert answer.status in _KNOWN, (sent, answer)
        path, _, query = sent.target.partition("?")
        if "/upload/" in path and "uploadType" not in query:
            assert "x-goog-upload-status" in answer.headers, (sent, answer)
        self.requests += 1
        self.answers[f"{sent.method} {answer.status}"] += 1
        return answer
