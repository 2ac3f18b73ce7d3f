"""The bounds of what endpoints are asked in a minute; see `limits`, of which they are a part."""

from __future__ import annotations

ALLOWANCE_SLACK_SHARE = 0.04
"""Ours: the share of a minute's allowance that may be used at once. It is taken off what is used
evenly, so that no sixty seconds have more than the allowance; it makes up for timers that are late,
and lets the first of a calm hour go at once."""

REQUESTS_PER_MINUTE_MAX = 1_000_000
TOKENS_PER_MINUTE_MAX = 10_000_000_000
"""Ours: the largest allowances that can be set; more is no limit to one server."""

ESTIMATED_BYTES_PER_TOKEN = 3
ESTIMATED_OUTPUT_TOKENS = 1_024
"""Ours: what is reckoned before an answer tells its tokens, rather too high: English has about four
bytes a token; the output of a request that sets no limit."""

ESTIMATED_PICTURE_TOKENS = 1_600
ESTIMATED_MEDIUM_BYTES_PER_TOKEN = 256
"""Ours: and of media, whose tokens depend on pixels, seconds and pages that nobody looks at here.
A picture costs models 85 to some 1,600, a second of sound (16 KB) or of film some 32 to 300, a page
of a document 258."""
