"""The bounds of webhooks and their deliveries; see `limits`, of which they are a part."""

from __future__ import annotations

from nightrate.limits import KIB

WEBHOOKS_MAX = 100
"""Ours: registered webhooks of a tenant; each ended batch makes a row for each of them."""

WEBHOOK_URIS_MAX = 10
"""Ours: targets that one batch names for itself."""

WEBHOOK_URI_CHARACTERS_MAX = 2_048
"""Ours: the address of a webhook."""

WEBHOOK_ID_CHARACTERS_MAX = 63
"""Google's habit: an id that a client chooses."""

USER_METADATA_BYTES_MAX = 2 * KIB
"""Ours: it travels in a header, and receivers take about 8 KB of those."""

EVENT_MESSAGE_CHARACTERS_MAX = 500
"""Ours: how much of a batch's error an event repeats; the batch itself has all of it."""

SIGNING_SECRETS_MAX = 5
"""Ours: secrets of a webhook that sign at once while rotations overlap."""

SECRET_OVERLAP_SECONDS = 24 * 3600
"""Google: a replaced signing secret goes on signing this long, unless it is revoked."""

WEBHOOK_TIMEOUT_SECONDS = 15.0
"""Standard Webhooks: a receiver answers within 15 to 30 seconds."""

DELIVERIES_AT_ONCE_MAX = 16
"""Ours: deliveries under way."""

DELIVERIES_EACH_MAX = 4
"""Ours: deliveries under way to one target, so that a slow one leaves room for the others."""

TOKEN_LIFETIME_SECONDS = 300
"""Standard Webhooks: receivers allow five minutes; a token of ours is good for as long."""

DELIVERY_LOG_SECONDS = 7 * 86400
"""Ours: how long it is known what became of a delivery."""

DELIVERY_LOG_ROWS = 100_000
"""Ours: settled deliveries that are kept, about 30 MB; the oldest go first."""
