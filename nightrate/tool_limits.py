"""The bounds of what prompts may use beside the model; see `limits`, of which they are a part."""

from __future__ import annotations

from nightrate.limits import KIB, MIB

# Documents and their index -------------------------------------------------------------------

EXCERPT_BYTES_MAX = KIB
"""Ours: an excerpt, which is what a search finds: a quarter of a page; five of them and a question
fit a small model's context."""

DOCUMENT_FILE_BYTES_MAX = 64 * MIB
"""Ours: one file that is added to the index; it is read as a whole."""

DOCUMENT_TEXT_BYTES_MAX = 8 * MIB
"""Ours: the text of one document, a shelf of books; a command sends it to the server in one call,
where JSON may double it."""

MAIN_PART_CHARACTERS_MAX = 2_000_000
"""Ours: a page whose main part is looked for, which takes some two seconds per million; longer ones
are read whole."""

DOCUMENT_PAGES_MAX = 5_000
"""Ours: pages of one PDF."""

DOCUMENT_URI_CHARACTERS_MAX = 2_048
"""Ours: what browsers and proxies take."""

DOCUMENT_TITLE_CHARACTERS_MAX = 200
"""Ours: a title is shown beside each of its excerpts."""

DOCUMENTS_MAX = 100_000
"""Ours: documents of one index; a million excerpts of a kilobyte are about 2 GB."""

DOCUMENTS_PAGE_SIZE = 1_000
"""Ours: documents that one call lists."""

QUERY_WORDS_MAX = 32
"""Ours: different words of a query that the index looks for."""

# Pages ----------------------------------------------------------------------------------------

PAGES_MAX = 20
"""Google: pages that one request may name."""

PAGE_ADDRESS_BYTES_MAX = 2 * KIB
"""Ours: the address of one of them; what is looked up for a request is kept with its addresses."""

PAGE_BYTES_MAX = 20 * MIB
"""Ours: one page as it is fetched."""

PAGE_TEXT_BYTES_MAX = 16 * KIB
"""Ours: what a model is shown of one page, some ten screens; that it was cut is said."""

PAGES_TEXT_BYTES_MAX = 64 * KIB
"""Ours: what it is shown of all of them, shared alike by those that came."""

PAGE_CONNECT_SECONDS = 10.0
PAGE_SECONDS = 30.0
"""Ours: how long a connection may take, and a page with all that leads to it."""

PAGE_REDIRECTS_MAX = 3
"""Ours: how often a page may lead to another place."""

PAGES_AT_ONCE_MAX = 8
LIVE_PAGES_AT_ONCE_MAX = 8
"""Ours: pages that are being fetched, or wait to be read, for batches, and at the same time for
live requests."""

PAGE_PORT_MIN = 8_000
PAGE_PORT_MAX = 8_999
"""Ours: ports of web servers beside 80 and 443; others are those of other services."""

ROBOTS_BYTES_MAX = 500 * KIB
"""RFC 9309: what is read of a robots.txt at least; ours: and at most, the rest is passed over."""

ROBOTS_SECONDS = 3_600.0
"""Ours: how long a robots.txt is remembered; RFC 9309 allows a day."""

ROBOTS_REMEMBERED_MAX = 256
"""Ours: and of how many sites; each may have half a megabyte, usual ones have a thousandth."""

EXTRACTIONS_AT_ONCE_MAX = 2
LIVE_EXTRACTIONS_AT_ONCE_MAX = 2
"""Ours: processes that read pages for batches, and at the same time for live requests."""

EXTRACTION_SECONDS = 20.0
"""Ours: how long one may take; a PDF of a hundred pages takes three."""

EXTRACTION_MEMORY_BYTES_MAX = 2 * 1024 * MIB
"""Ours: what such a process may have."""

LOOKUPS_ASIDE_MAX = 2_000
"""Ours: rows of batches that look something up while others have their places before an engine, two
shards of them. Each may hold what it found, up to 64 KiB, until the engine takes it."""

# Searches --------------------------------------------------------------------------------------

SEARCH_TRIES_MAX = 3
"""Ours: how often a search is asked before its request fails; with its timeouts a minute."""

SEARCH_SECONDS = 15.0
"""Ours: how long a search may say nothing; a metasearch waits for its engines itself."""

SEARCH_ANSWER_BYTES_MAX = 4 * MIB
"""Ours: the answer of a search; usual ones have 50 KB."""

SUPPORTS_MAX = 100
"""Ours: sentences of an answer whose sources are named."""

SEARCHES_AT_ONCE_MAX = 8
LIVE_SEARCHES_AT_ONCE_MAX = 4
"""Ours: searches that are asked at once for batches, and at the same time for live requests; the
engines behind them shut out who asks too fast."""

INDEX_BUSY_SECONDS = 5.0
"""Ours: how long one connection to the index waits in the rare moments when another one keeps
everybody out."""
