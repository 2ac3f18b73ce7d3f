"""Fetching pages: real servers that lead astray, withhold, flood and stall."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from nightrate import clock, tool_limits
from nightrate.tools.addresses import Addresses
from nightrate.tools.web import Fetched, NotFetched, Web, Why
from tests.tools.sites import site

PAGE = web.Response


class Pages:
    """A site; what is not there is 404. Counts what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        name = request.path.strip("/")
        self.asked[name] += 1
        self.headers.append(dict(request.headers))
        answer = self.answers.get(name.partition(".")[0], 404)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, str):
            return web.Response(status=302, headers={"location": answer})
        headers = {"content-type": "text/html; charset=latin-1"}
        return web.Response(body=answer, headers=headers)


def open_web() -> Web:
    return Web(Addresses(private=True, loopback=True), private=True)


async def fetch(pages: Pages, name: str = "page", fetcher: Web | None = None) -> Fetched | Why:
    async with site(pages) as address:
        try:
            return await (fetcher or open_web()).fetch(f"{address}/{name}")
        except NotFetched as fault:
            return fault.why


async def test_a_page_comes_with_its_type_and_we_say_who_we_are() -> None:
    pages = Pages(page=b"hello")
    assert await fetch(pages) == Fetched(b"hello", "text/html", "latin-1")
    assert pages.asked == {"robots.txt": 1, "page": 1}
    sent = {name.lower(): value for name, value in pages.headers[-1].items()}
    assert sent["user-agent"] == "nightrate"
    assert sent["accept-encoding"] == "identity"
    assert "cookie" not in sent
    assert "referer" not in sent


async def test_redirects_are_followed_so_far_and_no_farther() -> None:
    found = await fetch(Pages(page="/b", b="c#there", c=b"end"))
    assert isinstance(found, Fetched)
    assert found.data == b"end"
    pages = Pages(page="/page")
    assert await fetch(pages) is Why.FAILED
    assert pages.asked["page"] == tool_limits.PAGE_REDIRECTS_MAX + 1


async def test_an_address_may_have_letters_of_any_kind() -> None:
    async def named(request: web.Request) -> web.StreamResponse:
        return web.Response(text="x", status=200 if request.path == "/Zürich" else 404)

    async with site(named) as address:
        for name in ("Zürich", "Z%C3%BCrich"):
            assert (await open_web().fetch(f"{address}/{name}")).data == b"x"
    with pytest.raises(NotFetched):
        await Web(Addresses()).fetch("https://zürich.example/")


@pytest.mark.parametrize(
    "to",
    [
        *("http://169.254.169.254/latest/", "http://0.0.0.0/", "http://[::ffff:169.254.169.254]/"),
        *("ftp://example.com/", "file:///etc/passwd", "http://me:secret@127.0.0.1/"),
    ],
)
async def test_a_redirect_leads_nowhere_that_is_not_allowed(to: str) -> None:
    assert await fetch(Pages(page=to)) is Why.UNSAFE


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        ("http://127.0.0.1:8080/", Addresses(loopback=False)),
        ("https://127.0.0.1/", Addresses(loopback=False)),
        ("https://localhost:8443/", Addresses(loopback=False)),
        ("https://10.0.0.1/", Addresses()),
        ("http://example.com/", Addresses()),
        ("https://example.com:22/", Addresses()),
        ("https://example.com:9000/", Addresses()),
        ("https://example.com/" + "x" * 3_000, Addresses()),
    ],
)
async def test_what_is_not_allowed_is_not_asked(uri: str, addresses: Addresses) -> None:
    with pytest.raises(NotFetched) as fault:
        await Web(addresses).fetch(uri)
    assert fault.value.why is Why.UNSAFE


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503, 204])
async def test_what_is_not_there_is_told(status: int) -> None:
    assert await fetch(Pages(page=status)) is Why.FAILED


async def test_what_costs_money_is_told() -> None:
    assert await fetch(Pages(page=402)) is Why.PAYWALL


async def test_a_page_that_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "PAGE_BYTES_MAX", 100_000)
    assert isinstance(await fetch(Pages(page=b"x" * 100_000)), Fetched)
    assert await fetch(Pages(page=b"x" * 100_001)) is Why.FAILED


async def test_a_page_that_does_not_come_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "PAGE_SECONDS", 0.3)
    assert await fetch(Pages(page=None)) is Why.FAILED


async def test_a_packed_page_is_left() -> None:
    async def packed(request: web.Request) -> web.StreamResponse:
        assert request.headers["accept-encoding"] == "identity"
        status = 404 if request.path == "/robots.txt" else 200
        return web.Response(status=status, body=b"x", headers={"content-encoding": "br"})

    async with site(packed) as address:
        with pytest.raises(NotFetched) as fault:
            await open_web().fetch(f"{address}/page")
    assert fault.value.why is Why.FAILED


async def test_nobody_there_is_told() -> None:
    async with site(Pages()) as gone:
        pass
    with pytest.raises(NotFetched) as fault:
        await open_web().fetch(f"{gone}/page")
    assert fault.value.why is Why.FAILED


# robots ------------------------------------------------------------------------------------------

ROBOTS = b"User-agent: *\nAllow: /open/\nDisallow: /private\nDisallow: /*.pdf$\n"


@pytest.mark.parametrize(
    ("name", "allowed"), [("page", True), ("private", False), ("page.pdf", False)]
)
async def test_a_site_says_what_programs_may_fetch(name: str, *, allowed: bool) -> None:
    pages = Pages(robots=ROBOTS, page=b"x", private=b"x")
    assert isinstance(await fetch(pages, name), Fetched) is allowed
    assert pages.asked[name] == int(allowed)


async def test_a_site_may_say_it_to_us_alone() -> None:
    ours = b"User-agent: nightrate\nDisallow: /\n\nUser-agent: *\nAllow: /\n"
    assert await fetch(Pages(robots=ours, page=b"x")) is Why.FAILED


async def test_the_place_that_a_page_leads_to_is_asked_too() -> None:
    other = Pages(robots=b"User-agent: *\nDisallow: /\n", page=b"x")
    async with site(other) as elsewhere:
        assert await fetch(Pages(page=f"{elsewhere}/page")) is Why.FAILED
    assert other.asked == {"robots.txt": 1}


@pytest.mark.parametrize("robots", [500, 503, 429, "/robots.txt"])
async def test_a_site_that_withholds_what_it_allows_allows_nothing(robots: Any) -> None:
    pages = Pages(robots=robots, page=b"x")
    assert await fetch(pages) is Why.FAILED
    assert pages.asked["page"] == 0


@pytest.mark.parametrize("robots", [404, 403, b"\xff rubbish", "/elsewhere"])
async def test_a_site_that_says_nothing_allows_everything(robots: Any) -> None:
    assert isinstance(await fetch(Pages(robots=robots, page=b"x")), Fetched)


LONG = b"# a remark that is as long as usual\n" * 100_000


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("name", "allowed"), [("page", True), ("private", False), ("page.pdf", False)]
)
async def test_a_long_one_is_judged_by_its_beginning(
    name: str, *, allowed: bool, line_end: bytes
) -> None:
    robots = (ROBOTS + LONG).replace(b"\n", line_end)
    pages = Pages(robots=robots, page=b"x", private=b"x")
    assert isinstance(await fetch(pages, name), Fetched) is allowed
    assert pages.asked[name] == int(allowed)


async def test_a_line_that_is_cut_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    robots = b"User-agent: *\nDisallow: /private\nDisallow: /pages/of/last/year\n"
    cut = robots.index(b"s/of")
    monkeypatch.setattr(tool_limits, "ROBOTS_BYTES_MAX", cut)
    pages = Pages(robots=robots, page=b"x", private=b"x")
    assert isinstance(await fetch(pages), Fetched), "/page was not meant"
    assert await fetch(pages, "private") is Why.FAILED


async def test_what_a_site_adds_at_great_length_is_not_read() -> None:
    pages = Pages(robots=LONG + ROBOTS, private=b"x")
    assert isinstance(await fetch(pages, "private"), Fetched)


async def test_a_site_is_asked_once_by_those_who_come_together() -> None:
    pages, fetcher = Pages(page=b"x"), open_web()
    async with site(pages) as address:
        await asyncio.gather(*(fetcher.fetch(f"{address}/page?{n}") for n in range(5)))
    assert pages.asked == {"robots.txt": 1, "page": 5}


async def test_what_a_site_allows_is_remembered_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    monkeypatch.setattr(tool_limits, "ROBOTS_REMEMBERED_MAX", 1)
    pages, fetcher = Pages(page=b"x"), open_web()
    async with site(pages) as address, site(Pages(page=b"x")) as other:
        for _ in range(2):
            await fetcher.fetch(f"{address}/page")
        assert pages.asked["robots.txt"] == 1
        now += tool_limits.ROBOTS_SECONDS
        await fetcher.fetch(f"{address}/page")
        assert pages.asked["robots.txt"] == 2
        await fetcher.fetch(f"{other}/page")  # pushes the first one out
        await fetcher.fetch(f"{address}/page")
        assert pages.asked["robots.txt"] == 3
