"""Documents read as text."""

from __future__ import annotations

import pytest

from nightrate import tool_limits
from nightrate.tools.documents import HTML, MARKDOWN, PDF, PLAIN, Unreadable, extract, kind_of
from tests.tools.papers import locked, pdf_of

PAGE = b"""<!doctype html><html><head><title> The
 prices </title><style>p {color: red}</style><script>let x = 1</script></head>
<body><nav>Home <a href="/">start</a></nav>
<main><h1>Prices</h1><p>A batch costs <b>half</b>
of that.</p><ul><li>One</li><li>Two</li></ul>
<table><tr><td>a</td><td>b</td></tr></table>x<br>y</main>
<footer>Imprint</footer></body></html>"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.txt", PLAIN), ("b.MD", MARKDOWN), ("c.htm", HTML), ("d.pdf", PDF), ("e.exe", None)],
)
def test_files_are_told_apart_by_their_names(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_a_text_is_what_it_is() -> None:
    found = extract("\ufeffZürich\r\nwon.\x00\n".encode(), PLAIN)
    assert (found.title, found.text) == ("", "Zürich\nwon.")


def test_the_first_heading_of_markdown_is_its_title() -> None:
    found = extract(b"intro\n\n## The *Euro* ##\n\nZurich won.\n# Other", MARKDOWN)
    assert found.title == "The *Euro*"
    assert found.text.startswith("intro")
    assert extract(b"no heading", MARKDOWN).title == ""


def test_a_page_is_read_without_what_stands_beside_its_content() -> None:
    found = extract(PAGE, HTML)
    assert found.title == "The prices"
    assert found.text == "Prices\nA batch costs half of that.\nOne\nTwo\na\nb\nx\ny"


def test_lines_end_where_blocks_do() -> None:
    page = b"<div>a<p>b <i>c</i></p>d<!-- no --> e</div><div>f</div>g<br>h<em>i</em>j"
    assert extract(page, HTML).text == "a\nb c\nd e\nf\ng\nhij"


def test_a_page_without_parts_is_read_whole() -> None:
    assert extract(b"just <i>some</i> words", HTML).text == "just some words"
    assert extract(b"<nav><p>only links</p></nav>", HTML).text == "only links"


def test_a_page_in_another_encoding_is_read() -> None:
    assert extract("<p>Zürich</p>".encode("latin-1"), HTML, "latin-1").text == "Zürich"
    marked = '<meta charset="iso-8859-1"><p>Zürich</p>'.encode("latin-1")
    assert extract(marked, HTML).text == "Zürich"


def test_the_pages_of_a_pdf_are_read() -> None:
    found = extract(pdf_of("Zurich won.", "Bern lost.", title="The Euro"), PDF)
    assert (found.title, found.text) == ("The Euro", "Zurich won.\n\nBern lost.")


def test_a_pdf_that_everybody_may_read_is_read_though_it_is_encrypted() -> None:
    assert extract(locked(pdf_of("Zurich won."), ""), PDF).text == "Zurich won."


@pytest.mark.parametrize(
    ("data", "kind", "charset", "why"),
    [
        (b"", PLAIN, None, "it has no text"),
        (b"\xff\xfe", PLAIN, None, "it is no UTF-8 text"),
        (b"\xff", PLAIN, "ascii", "it is no ascii text"),
        (b"x", PLAIN, "klingon", "its encoding is not known"),
        (b"<script>x</script>", HTML, None, "it has no text"),
        (b"no pdf", PDF, None, "it is no PDF that can be read"),
        (pdf_of(""), PDF, None, "it has no text"),
        (locked(pdf_of("secret"), "word"), PDF, None, "locked with a password"),
        (b"x" * (tool_limits.DOCUMENT_TEXT_BYTES_MAX + 1), PLAIN, None, "longer than"),
    ],
    ids=["empty", "utf-8", "ascii", "klingon", "script", "no-pdf", "no-text", "locked", "long"],
)
def test_what_cannot_be_read_is_told(data: bytes, kind: str, charset: str | None, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        extract(data, kind, charset)


def test_a_pdf_of_too_many_pages_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_limits, "DOCUMENT_PAGES_MAX", 1)
    with pytest.raises(Unreadable, match="more than 1 pages"):
        extract(pdf_of("a", "b"), PDF)


def test_a_damaged_pdf_is_told_and_nothing_else_breaks() -> None:
    whole = pdf_of("Zurich won.")
    for cut in range(0, len(whole), 37):
        damaged = whole[:cut] + b"/////" + whole[cut + 5 :]
        try:
            extract(damaged, PDF)
        except Unreadable as fault:
            assert fault.message  # noqa: PT017 - some of them can be read all the same
