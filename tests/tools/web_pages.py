"""Pages as they are on the web: what each says, and what stands beside it."""

from __future__ import annotations

from typing import NamedTuple


class WebPage(NamedTuple):
    """A page; ``says`` must be read, in this order, and ``beside`` must not."""

    html: str
    says: tuple[str, ...]
    beside: tuple[str, ...] = ()


MENU = """<nav class="menu"><ul><li><a href="/">Home</a></li><li><a href="/news">News</a></li>
<li><a href="/login">Log in</a></li></ul></nav>"""
BANNER = """<div id="cookie-banner" class="cookie-consent"><p>We use cookies to improve
your visit.</p><button>Accept all</button><a href="/privacy">Privacy policy</a></div>"""

ARTICLE = WebPage(
    f"""<!doctype html><html><head><title>Bridge opens | Daily</title></head><body>{BANNER}
<header>{MENU}<a href="/subscribe">Subscribe now</a></header><article><h1>Bridge opens again</h1>
<p class="byline">By Ada Meier</p><p>The old bridge of Aarau was <b>rebuilt in 1949</b> after the
flood, and closed two years ago.</p><p>Three hundred people crossed it on the first day, the mayor
said on Monday, and nobody had to wait for longer than a minute.</p><blockquote>It holds.
</blockquote><p>The next inspection is planned for 2031, when the last of the old beams will be
taken out and shown in the museum of the town.</p></article><aside class="sidebar"><h3>Most
read</h3><ul><li><a href="/1">Ten soups for winter</a></li><li><a href="/2">Quiz of the week</a>
</li></ul></aside><footer><p>Copyright Daily. All rights reserved.</p></footer></body></html>""",
    ("was rebuilt in 1949 after", "Three hundred people", "It holds.", "planned for 2031"),
    ("cookies", "Log in", "Subscribe now", "Ten soups", "All rights reserved"),
)

WEB_FORMS = WebPage(
    f"""<!DOCTYPE html><html><head><title>Opening hours</title></head><body>
<form method="post" action="./Default.aspx" id="form1"><div class="aspNetHidden">
<input type="hidden" name="__VIEWSTATE" value="dDwtMTA4" /></div><div id="menu">{MENU}</div>
<div id="content"><h1>Opening hours</h1><p>The town library is open from nine to five on all days
of the week but one, and the reading room until eight.</p><p>On Sundays it is closed, and the box
for returned books is emptied on Monday morning before the doors open.</p><p>In August it closes
at noon, as do the schools, and loans are extended by two weeks without asking.</p>
<table><tr><th>Day</th><th>Hours</th></tr><tr><td>Tuesday</td><td>9-17</td></tr></table></div>
<div id="footer"><p>Imprint</p></div></form></body></html>""",
    (
        "open from nine to five",
        "On Sundays it is closed",
        "extended by two weeks",
        "Tuesday",
        "9-17",
    ),
    ("Log in", "VIEWSTATE"),
)

_POST = """<article><h2>Post {n}</h2><p>This is the body of post number {n}, which tells about
item{n} and what it costs in the shops of the town.</p><p>It was written after a long walk.</p>
</article>"""

ARTICLES = WebPage(
    f"""<html><head><title>Blog</title></head><body>{MENU}<div class="posts">
{"".join(_POST.format(n=n) for n in range(1, 5))}</div><footer>Powered by Pen</footer></body>
</html>""",
    tuple(f"item{n} and what it costs" for n in range(1, 5)),
    ("Log in", "Powered by Pen"),
)

EMPTY_MAIN = WebPage(
    f"""<html><head><title>Tariffs</title></head><body>{MENU}<main id="app"></main><article>
</article><div class="content"><h1>Tariffs</h1><p>A batch costs half of a live request, and it
comes within a day; most come within the hour.</p><p>A tariff is chosen in the settings of the
project, by whoever may write there, and counts from the next morning.</p>
<p>What was asked for before is charged as it was agreed, and a receipt is sent for it at the end
of the month.</p></div></body></html>""",
    ("batch costs half", "chosen in the settings", "a receipt is sent"),
    ("Log in",),
)

MANUAL = WebPage(
    """<html><head><title>Install - Tool 2.1</title></head><body><div class="sphinxsidebar"><ul>
<li><a href="a">Contents</a></li><li><a href="b">Changelog of all versions</a></li></ul></div>
<div class="document"><div class="body" role="main"><h1>Install<a class="headerlink" href="#i">#</a>
</h1><p>Run the installer, then check the version, which must be the one that was announced:</p>
<div class="highlight"><pre>$ pip install tool
$ tool --version
tool 2.1</pre></div><h2>Options</h2><p>Each of them can be given more than once; the last one
counts.</p><table><thead><tr><th>Option</th><th>Default</th><th>Meaning</th></tr></thead><tbody>
<tr><td><code>--jobs</code></td><td>4</td><td>how many run at once</td></tr>
<tr><td><code>--quiet</code></td><td>off</td><td>says nothing</td></tr></tbody></table>
<p>See the guide for more.</p><ul><li>Linux needs glibc 2.28.</li><li>macOS needs version 13.</li>
</ul></div></div></body></html>""",
    (
        *("Run the installer", "$ pip install tool\n$ tool --version\ntool 2.1", "--jobs", "4"),
        *("how many run at once", "--quiet", "says nothing", "glibc 2.28", "version 13"),
    ),
    ("Changelog of all versions",),
)

_SAID = (
    "My router does not answer any more since the storm. How do I reset it and keep its name?",
    "Hold the small button for ten seconds until the red light blinks, then wait for a minute.",
    "That worked, thank you! The light was green after a minute and all names were still there.",
    "The same here with model X200, but it needed thirty seconds and a second try in the evening.",
)
_REMARK = """<div class="post"><div class="author"><a href="/u{n}">user{n}</a></div>
<div class="message">{said}</div></div>"""

THREAD = WebPage(
    f"""<html><head><title>How to reset? - Forum</title></head><body><div class="topbar">{MENU}
<form action="/search"><input name="q"><button>Search</button></form></div><div id="thread">
<h1>How to reset the router?</h1>
{"".join(_REMARK.format(n=n, said=said) for n, said in enumerate(_SAID))}</div>
<div id="footer">Terms of use</div></body></html>""",
    _SAID,
    ("Log in",),
)

PRODUCT = WebPage(
    f"""<html><head><title>Kettle K5 - Shop</title></head><body>{BANNER}<header>{MENU}</header>
<div class="product"><h1>Kettle K5</h1><span class="price">49.90 EUR</span><p class="desc">A kettle
of steel that boils 1.7 litres in four minutes and switches off by itself.</p><p>It stands on a base
that turns, its handle stays cool, and its lid opens at the push of a button.</p>
<h2>Specifications</h2><table><tr><th>Power</th><td>2200 W</td></tr><tr><th>Weight</th>
<td>1.1 kg</td></tr><tr><th>Warranty</th><td>3 years</td></tr></table><form action="/buy">
<button>Add to cart</button></form></div><section class="related"><h2>Customers also bought</h2><ul>
<li><a href="/t">Toaster T2</a></li></ul></section><footer>Contact</footer></body></html>""",
    ("49.90 EUR", "boils 1.7 litres", "handle stays cool", "2200 W", "1.1 kg", "3 years"),
    ("cookies", "Add to cart"),
)

PREFORMATTED = WebPage(
    """<html><head><title>Memo</title></head><body><pre>Network Working Group
Request for Comments: 9999

   1. Introduction

   This memo says how a kettle is asked for tea.
</pre></body></html>""",
    (
        "Network Working Group\nRequest for Comments: 9999\n",
        "1. Introduction\n",
        "is asked for tea",
    ),
)

BARE = WebPage("just <i>some</i> words, in no order", ("just some words, in no order",))

GERMAN = WebPage(
    """<html lang="de"><head><meta charset="utf-8"><title>Fahrplan</title></head><body>
<div class="nav"><a href="/">Startseite</a> <a href="/k">Kontakt</a> <a href="/l">Anmelden</a></div>
<div class="inhalt"><h1>Neuer Fahrplan ab Dezember</h1><p>Der Zug nach Zürich fährt künftig um 12.04
Uhr und hält auch in Dietikon, wo ein zweites Gleis gebaut worden ist.</p><p>Für Gruppen über zehn
Personen gilt weiterhin die Anmeldung am Vortag, am besten bis 17 Uhr.</p><p>Velos dürfen außerhalb
der Stoßzeiten ohne Gebühr mitgenommen werden, solange Platz dafür ist.</p></div>
<div class="fuss">Impressum Datenschutz</div></body></html>""",
    ("Zug nach Zürich fährt", "Anmeldung am Vortag", "außerhalb der Stoßzeiten"),
    ("Startseite",),
)

JAPANESE = WebPage(
    f"""<html lang="ja"><head><meta charset="utf-8"><title>時刻表</title></head><body><nav>
<a href="/">ホーム</a><a href="/l">ログイン</a></nav><main><h1>新しい時刻表</h1>
<p>{"東京行きの電車は十二時四分に出発し、途中の駅にも停車します。" * 5}</p>
<p>{"団体の場合は前日までに予約してください。" * 8}</p></main>
<footer>著作権</footer></body></html>""",
    ("途中の駅にも停車します", "前日までに予約"),
    ("ログイン", "著作権"),
)

WEB_PAGES = {
    "article": ARTICLE,
    "web forms": WEB_FORMS,
    "several articles": ARTICLES,
    "empty main": EMPTY_MAIN,
    "manual": MANUAL,
    "thread": THREAD,
    "product": PRODUCT,
    "preformatted": PREFORMATTED,
    "bare": BARE,
    "German": GERMAN,
    "Japanese": JAPANESE,
}
