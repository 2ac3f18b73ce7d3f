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
"""Ours: searches that are asked at once; the engines behind them shut out who asks too fast."""
