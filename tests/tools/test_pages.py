"""Pages fetched and read as text, in a process of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import web

from nightrate import tool_limits
from nightrate.domain.grounding import PageStatus
from nightrate.tools.addresses import Addresses
from nightrate.tools.documents import Extracted
from nightrate.tools.excerpts import shortened
from nightrate.tools.extraction_process import main
from nightrate.tools.pages import Pages, Read
from nightrate.tools.web import Web
from tests.tools.papers import pdf_of
from tests.tools.sites import site

PAGES: dict[str, tuple[str, bytes]] = {
    "/html": ("text/html", b"<title>Euro</title><p>England <b>won</b>.</p>"),
    "/plain": ("text/plain", "Zürich".encode()),
    "/latin": ("text/plain; charset=latin-1", "Zürich".encode("latin-1")),
    "/json": ("application/json", b'{"won": "England"}'),
    "/pdf": ("application/pdf", pdf_of("A batch costs half.", title="Prices")),
    "/bad.pdf": ("application/pdf", b"no pdf"),
    "/picture": ("image/png", b"\x89PNG"),
    "/empty": ("text/html", b"<script>x</script>"),
    "/long": ("text/plain", b"word " * 20_000),
    "/money": ("", b""),
}


async def serve(request: web.Request) -> web.StreamResponse:
    if request.path == "/money":
        return web.Response(status=402)
    if request.path not in PAGES:
        return web.Response(status=404)
    kind, body = PAGES[request.path]
    return web.Response(body=body, headers={"content-type": kind})


async def read(*names: str) -> tuple[str, Read]:
    async with site(serve) as address:
        fetcher = Web(Addresses(private=True, loopback=True), private=True)
        return address, await Pages(fetcher).read(
            [f"{address}{name}" for name in names], live=False
        )


@pytest.mark.parametrize(
    ("name", "title", "text"),
    [
        ("/html", "Euro", "England won."),
        ("/plain", None, "Zürich"),
        ("/latin", None, "Zürich"),
        ("/json", None, '{"won": "England"}'),
        ("/pdf", "Prices", "A batch costs half."),
    ],
)
async def test_a_page_is_read(name: str, title: str | None, text: str) -> None:
    address, found = await read(name)
    (source,) = found.sources
    assert (source.uri, source.text) == (f"{address}{name}", text)
    assert source.title == (title or f"{address}{name}")
    assert [page.status for page in found.pages] == [PageStatus.SUCCESS]


async def test_a_page_that_cannot_be_read_hinders_no_other() -> None:
    names = ("/none", "/html", "/bad.pdf", "/picture", "/empty", "/money")
    address, found = await read(*names)
    assert [page.uri for page in found.pages] == [f"{address}{name}" for name in names]
    assert [page.status.value for page in found.pages] == [
        *("error", "success", "error", "error", "error", "paywall")
    ]
    assert [source.title for source in found.sources] == ["Euro"]


async def test_a_place_that_is_not_allowed_is_called_unsafe() -> None:
    found = await Pages(Web(Addresses(loopback=False))).read(["https://127.0.0.1/"], live=False)
    assert [page.status for page in found.pages] == [PageStatus.UNSAFE]
    assert found.sources == ()
    assert await Pages(Web(Addresses())).read([], live=False) == Read((), ())


async def test_long_pages_are_cut_and_say_so() -> None:
    _, one = await read("/long")
    (source,) = one.sources
    assert len(source.text.encode()) <= tool_limits.PAGE_TEXT_BYTES_MAX
    assert source.text.endswith("word\n[...]")
    _, many = await read(*("/long",) * 8)
    sizes = [len(source.text.encode()) for source in many.sources]
    assert sum(sizes) <= tool_limits.PAGES_TEXT_BYTES_MAX
    assert min(sizes) > tool_limits.PAGES_TEXT_BYTES_MAX / 8 * 0.9
    assert shortened("short", 5) == "short"


async def test_a_page_that_takes_too_long_to_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "EXTRACTION_SECONDS", 0.001)
    _, found = await read("/html")
    assert [page.status for page in found.pages] == [PageStatus.ERROR]


def test_the_process_is_bounded_and_says_what_it_read(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Any
) -> None:
    bounds: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr("resource.setrlimit", lambda kind, most: bounds.append((kind, most)))
    page = tmp_path / "page"
    page.write_bytes(b"<title>T</title>text")
    with page.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["text/html", ""]) == 0
    said = capfdbinary.readouterr().out
    assert msgspec.json.decode(said, type=Extracted) == Extracted("T", "text")
    with page.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["application/pdf", ""]) == 1
    assert len(bounds) == 4
