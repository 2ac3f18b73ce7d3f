"""Files that are meant to hurt: each line of theirs gets the answer that is written down here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from nightrate import limits
from nightrate.errors import Code
from nightrate.limits import KIB, MIB
from tests.acceptance.server import Server, counters, request_line, text_of
from tests.faults.campaign import Campaign, Figures
from tests.faults.footprint import Footprint

MEMORY_BYTES_MAX = 300_000_000
PIECE_BYTES = 8 * MIB
FINISH_SECONDS = 3600.0

_OPEN, _CLOSE = b'{"contents":[{"parts":[{"text":"', b'"}]}]'
GOOD = request_line("good", "fine")


class Case(Struct, frozen=True):
    """One line, and what it gets: its text back, or an error with these words."""

    name: str
    line: bytes
    fault: tuple[str, ...] = ()
    text: str = "x"
    key: Any = "k"
    """What comes back as its key; None when none does."""


def _line(text: bytes = b"x", before: bytes = b'"key":"k",', after: bytes = b"") -> bytes:
    return b"{" + before + b'"request":' + _OPEN + text + _CLOSE + after + b"}}"


def _setting(name: bytes, value: bytes) -> bytes:
    return _line(after=b',"generationConfig":{"' + name + b'":' + value + b"}")


_MEMBERS = b",".join(b'"m%d":0' % number for number in range(200_000))
_DIGITS = b"9" * 100_000

LINES = (
    Case("NUL in a text", _line(b"a\0b"), ("Invalid JSON",), key=None),
    Case("a line of NUL", b"\0" * 64, ("Invalid JSON",), key=None),
    Case("NUL, escaped", _line(rb"a\u0000b"), text="a\0b"),
    Case("a text that is not UTF-8", _line(b"caf\xe9"), ("UTF-8",)),
    Case("a key that is not UTF-8", _line(before=b'"key":"caf\xe9",'), ("UTF-8",), key=None),
    Case("a member that comes twice", _line(before=b'"key":"a","key":"b",'), key="b"),
    Case("no key", _line(before=b""), key=None),
    Case("a key that is null", _line(before=b'"key":null,'), key=None),
    Case("a key that is a list", _line(before=b'"key":[1],'), key=[1]),
    Case("100,000 levels", b"[" * 100_000 + b"]" * 100_000, ("100 levels",), key=None),
    Case("a key of 100,000 digits", _line(before=b'"key":' + _DIGITS + b","), ("range",), key=None),
    Case("a temperature of 100,000 digits", _setting(b"temperature", _DIGITS), ("range",)),
    Case("a seed of 1e999", _setting(b"seed", b"1e999"), ("range",)),
    Case("a temperature that is NaN", _setting(b"temperature", b"NaN"), ("JSON",), key=None),
    Case("half a surrogate pair", _line(rb"\ud83d"), ("surrogate",)),
    Case("200,000 members beside the request", _line(before=b'"key":"k",' + _MEMBERS + b",")),
    Case("200,000 members in it", b'{"key":"k","request":{' + _MEMBERS + b"}}", ('"m0"',)),
    Case("a key of 4 MiB", _line(before=b'"key":"' + b"k" * (4 * MIB) + b'",'), key="k" * 4 * MIB),
    Case("a number", b"1", ("not a JSON object",), key=None),
    Case("nothing asked", b"{}", ('neither "request"',), key=None),
    Case("two on one line", _line() + _line(), ("Trailing",), key=None),
    Case("torn in the middle", _line()[:30], ("truncated",), key=None),
    Case("a second byte-order mark", b"\xef\xbb\xbf" + _line(), ("Invalid",), key=None),
    Case("UTF-16", _line().decode().encode("utf-16-le"), ("Invalid JSON",), key=None),
)

_THREE = [request_line(key, f"text {key}") for key in "abc"]

FILES = {
    "no final newline": b"".join(_THREE)[:-1],
    "line ends of Windows": b"".join(_THREE).replace(b"\n", b"\r\n"),
    "a byte-order mark": b"\xef\xbb\xbf" + b"".join(_THREE),
    "empty lines": b"\n\r\n \t\n" + b"\n\n".join(_THREE) + b"\n\n",
    "keys that come twice": b"".join(_THREE) + b"".join(_THREE),
    "truncated in the last line": b"".join(_THREE)[:-20],
}
"""Files whose whole lines are answered as they stand."""


def _wrong(case: Case, line: Any) -> str | None:
    """Say what is wrong with the answer to a line, if anything is."""
    if line.get("key") != case.key:
        return f"{case.name}: its key came back as {str(line.get('key'))[:100]}"
    if not case.fault:
        fine = "response" in line and text_of(line) == case.text
        return None if fine else f"{case.name}: {str(line)[:300]}"
    if line.get("error", {}).get("code") != Code.INVALID_ARGUMENT or "response" in line:
        return f"{case.name}: no error of the client: {str(line)[:300]}"
    missing = [word for word in case.fault if word not in line["error"]["message"]]
    return f"{case.name}: {missing} not in {line['error']['message'][:300]}" if missing else None


def send(server: Server, pieces: Iterable[bytes]) -> str:
    """Upload a file that exists only piece by piece; gives its name."""
    upload, offset, held = server.start_upload(), 0, bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= PIECE_BYTES:
            server.send(upload, offset, bytes(held[:PIECE_BYTES]))
            offset += PIECE_BYTES
            del held[:PIECE_BYTES]
    answer = server.send(upload, offset, bytes(held), "upload, finalize")
    return str(answer.json["file"]["name"])


def run(server: Server, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Run a file and give the lines of its result as they arrive."""
    created = server.create(send(server, pieces))
    assert created.status == 200, created.body
    document = server.finish(str(created.json["name"]), FINISH_SECONDS)
    assert document["state"] == "JOB_STATE_SUCCEEDED", document
    count, pending, *_ = counters(document)
    assert (count is not None, pending) == (True, 0)
    return server.lines(document["response"]["responsesFile"])


def _odd_lines(figures: Figures, cases: Sequence[Case], server: Server) -> None:
    """Run the odd lines in one file, each between two good ones."""
    content = b"".join(case.line + b"\n" + GOOD for case in cases)
    lines = [msgspec.json.decode(line) for line in run(server, [GOOD, content])]
    if len(lines) != 2 * len(cases) + 1:
        figures.violations.append(f"odd lines: {len(lines)} lines for {2 * len(cases) + 1}")
        return
    figures.violations += [
        f"a neighbour of odd lines: {line}"
        for line in lines[::2]
        if (line.get("key"), "response" in line) != ("good", True)
    ]
    wrong = (_wrong(case, line) for case, line in zip(cases, lines[1::2], strict=True))
    figures.violations += [one for one in wrong if one is not None]
    figures.tried += len(cases)


def _odd_files(figures: Figures, server: Server) -> None:
    for name, content in FILES.items():
        lines = [msgspec.json.decode(line) for line in run(server, [content])]
        whole = [line for line in lines if "response" in line]
        keys = "abcabc" if "twice" in name else "abc"
        torn = name.startswith("truncated")
        expected = [(key, f"text {key}") for key in keys[: len(keys) - torn]]
        if [(line["key"], text_of(line)) for line in whole] != expected or len(lines) != len(keys):
            figures.violations.append(f"{name}: {lines}")
        figures.tried += 1


def _endless_line(figures: Figures, size_bytes: int, server: Server) -> None:
    """Send a file that has one line end, near its beginning."""

    def pieces() -> Iterator[bytes]:
        yield GOOD
        left, piece = size_bytes - len(GOOD), b"x" * PIECE_BYTES
        while left:
            yield piece[:left]
            left -= min(left, len(piece))

    first, long = [msgspec.json.decode(line) for line in run(server, pieces())]
    if text_of(first) != "fine" or f"{limits.LINE_BYTES_MAX // MIB} MiB" not in str(long):
        figures.violations.append(f"a line of {size_bytes} bytes: {first}, {long}")
    figures.tried += 1


def _tiny_lines(figures: Figures, count: int, server: Server) -> None:
    """Send very many lines of one digit; every hundredth one is a request."""

    def pieces() -> Iterator[bytes]:
        block = (GOOD + b"7\n" * 99) * 100
        yield from (block for _ in range(count // 10_000))

    answered = failed = 0
    for line in run(server, pieces()):
        good = line.startswith(b'{"response":')
        answered, failed = answered + good, failed + (not good)
        if good and failed != 99 * (answered - 1):
            figures.violations.append(f"tiny lines: request {answered} is at a wrong place")
    if (answered, failed) != (count // 100, count - count // 100):
        figures.violations.append(f"tiny lines: {answered} answers, {failed} errors of {count}")
    figures.tried += 1


def _longest_lines(figures: Figures, count: int, server: Server) -> None:
    """Send lines of exactly the limit, and one that is a byte longer."""
    room = limits.LINE_BYTES_MAX - len(_line(b""))

    def pieces() -> Iterator[bytes]:
        for extra in [*[0] * count, 1]:
            yield _line(b"x" * (room + extra)) + b"\n"

    lengths = [
        len(text_of(answer)) if "response" in answer else answer["error"]["code"]
        for line in run(server, pieces())
        for answer in [msgspec.json.decode(line)]
    ]
    if lengths != [*[room] * count, Code.INVALID_ARGUMENT]:
        figures.violations.append(f"the longest lines: {lengths}, expected {room} x {count} and 3")
    figures.tried += count + 1


def _large_lines(figures: Figures, count: int, server: Server) -> None:
    """Send lines of 2 MiB, more than an engine is asked at once."""
    text = b"y" * (2 * MIB - KIB)
    lines = run(server, (_line(text) + b"\n" for _ in range(count)))
    answered = sum(line.startswith(b'{"response":') for line in lines)
    if answered != count:
        figures.violations.append(f"lines of 2 MiB: {answered} of {count} have an answer")
    figures.tried += count


def _parts(figures: Figures, points: int | None) -> list[tuple[str, Callable[[Server], None]]]:
    """Give the parts of the campaign: small below a hundred points, then larger ones."""
    points = 10_000 if points is None else points
    small = points < 100
    return [
        ("odd lines", partial(_odd_lines, figures, LINES[:points])),
        ("odd files", partial(_odd_files, figures)),
        (
            "an endless line",
            partial(_endless_line, figures, 64 * MIB if small else limits.FILE_BYTES_MAX),
        ),
        ("longest lines", partial(_longest_lines, figures, 1 if small else 16)),
        ("lines of 2 MiB", partial(_large_lines, figures, 8 if small else 300)),
        ("tiny lines", partial(_tiny_lines, figures, max(10**5, 1_000 * points))),
    ]


def hostile_files(points: int | None, seed: int) -> Figures:
    """Run every hostile file; with few points, smaller ones of the large ones."""
    del seed  # they are all written down
    figures = Figures.none()
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        server = Server(Path(folder) / "data", "--engine", "echo")
        try:
            server.start()
            for what, call in _parts(figures, points):
                with Footprint(server) as footprint:
                    call(server)
                figures.notes[what] = footprint.peak
                if footprint.peak_bytes > MEMORY_BYTES_MAX:
                    figures.violations.append(f"{what}: {footprint.peak} of private memory")
        finally:
            server.close()
    return figures


CAMPAIGNS = (
    Campaign(
        name="hostile-files",
        what="files and lines that are meant to hurt the reader of batches",
        run=hostile_files,
    ),
)
