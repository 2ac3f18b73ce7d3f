"""Every bound of the system: its value, its unit in the name, why, and whose rule it is.

What is over a bound is refused at the door with the bound in the message; nothing is trimmed in
silence. ``Google`` marks a rule of the original service, ``ours`` a decision of this project.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# Input ---------------------------------------------------------------------------------------

FILE_BYTES_MAX = 2 * GIB
"""Google: one uploaded file."""

INLINE_BODY_BYTES_MAX = 20 * MIB
"""Google: the whole body of a create call with inline requests."""

BODY_BYTES_MAX = 20 * MIB
"""Ours: the body of any other JSON call; a live request may carry media."""

LINE_BYTES_MAX = 32 * MIB
"""Ours: one line of a batch file. A longer line is an error line, found without being held."""

LENIENT_BODY_BYTES_MAX = MIB
"""Ours: single quotes and comments are what people type; rewriting 1 MiB takes up to 0.4 s."""

JSON_DEPTH_MAX = 100
"""Ours: nesting of a client's JSON; parsers stop near 1,000 levels."""

QUOTED_CHARACTERS_MAX = 100
"""Ours: how much of a client's text an error message repeats."""

FILE_ID_CHARACTERS_MAX = 40
"""Google: the id of a file."""

MIME_TYPE_CHARACTERS_MAX = 255
"""RFC 6838: 127 characters on each side of the slash."""

DISPLAY_NAME_CHARACTERS_MAX = 512
"""Google: the display name of a file; ours for batches too."""

METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARACTERS_MAX = 64
METADATA_VALUE_CHARACTERS_MAX = 512
"""OpenAI: notes that a client attaches to a batch."""

FAULTS_LISTED_MAX = 20
"""Google's habit: the first twenty faults of a refused file are listed, the rest counted."""

PICTURE_SIDE_MIN = 16
PICTURE_SIDE_MAX = 4_096
"""Ours: pixels of a side of a picture, as Google's largest square has them."""

MEDIA_BYTES_MAX = 20 * MIB
"""Ours: pictures, sounds, films and documents of one request, decoded, wherever they come from:
about what services take in one call."""

EMBEDDING_INPUTS_MAX = 2_048
"""OpenAI: texts of one request for embeddings."""

CANDIDATES_MAX = 8
"""Google: answers to one request."""

FUNCTIONS_MAX = 128
"""Google: functions that a request declares."""

LOGPROBS_MAX = 20
"""Google: likely tokens that are told for each place of an answer."""

STOP_SEQUENCES_MAX = 5
"""Google: stop sequences of a request."""

SCHEMA_BYTES_MAX = 64 * KIB
"""Ours: the form that a request asks of its answer; more than any model's context would show."""

SCHEMA_NODES_MAX = 1_000
"""Ours: parts of such a form; each becomes a rule of a grammar."""

SCHEMA_DEPTH_MAX = 32
"""Ours: nesting of such a form."""

PATTERN_CHARACTERS_MAX = 1_000
"""Ours: the pattern of a text in such a form."""

PATTERN_COUNT_MAX = 10_000
"""Ours: characters that the counts in a pattern add up to, for whoever holds a text against it."""

GRAMMAR_CHARACTERS_MAX = 120
"""Ours, measured: each counted character of a text costs 12 ms once; from 128 on, every step."""

GRAMMAR_LOOPS_MAX = 24
"""Ours, measured: endless repetitions in the patterns of a form; each may cost 0.5 s once."""

GRAMMAR_ITEMS_MAX = 1_000
"""Ours: counted items of one list."""

GRAMMAR_ITEMS_TOTAL_MAX = 10_000
"""Ours, measured: counted items of all lists of a form; each costs 0.3 ms once."""

GRAMMAR_CHARACTERS_TOTAL_MAX = 512 * KIB
"""Ours, measured: the text of a grammar; one of bounded numbers costs 11 ms a KiB once."""

SPECIMEN_SIZE_MAX = 100_000
"""Ours: values and demanded characters in an answer that is made up to fit a form."""

SEARCH_QUERY_CHARACTERS_MAX = 256
"""Ours: the query that is made of a question; search engines cut longer ones."""

SEARCH_SOURCES_MAX = 5
"""Ours: sources that a model is shown; more would fill the context of a small one."""

EMBEDDING_DIMENSIONS_MAX = 8192
"""Ours: the longest vector that can be asked for; the largest models stay under it."""

EMBEDDINGS_AT_ONCE_MAX = 100
"""Google: requests of one live call that embeds several contents."""

# Shards --------------------------------------------------------------------------------------

REPAIR_SECONDS_MAX = 48 * 3600
"""Ours: a damaged shard of an ended batch that is not made again by then is given up, so that its
input can go and its readers are told; as long as a batch may take."""

LEASE_SECONDS = 60.0
"""Ours: a claim that is not renewed for this long may be taken over."""

BEAT_SECONDS = 1.0
"""Ours: how often a claim renews its lease and shows its progress."""

JOURNAL_SYNC_SECONDS = 0.25
"""Ours: finished answers reach the disk within this time; at most these run again."""

JOURNAL_SYNC_BYTES = 4 * MIB
"""Ours: or when this much has gathered. A shard of short answers from a fast engine is sealed
before either, and its journal is never written; with 1 MiB, such answers were written twice."""

STEP_BYTES_MAX = 256 * KIB
"""Ours: what is recorded of a request before its outcome: what was looked up for it."""

JOURNAL_HELD_BYTES_MAX = 8 * MIB
"""Ours: answers of a shard that wait for the disk; while there are more, no request of it is begun.
Without this, 256 pictures would gather behind one sync."""

MEDIA_HELD_BYTES_MAX = 64 * MIB
"""Ours, measured: uploaded files that the prompts of one engine hold while they are asked, live
ones and those of batches each so many. Each file is there as Base64, again in the body that is
sent, and once more while that is made: a server whose batch is at it takes 340 MiB for it."""

LINES_HELD_BYTES_MAX = 24 * MIB
"""Ours, measured: lines that one runner has read and not yet recorded the answers of, or one that
is longer. A line is in memory up to four times on its way. Twenty-four lines of 1 MiB are asked at
once."""

REQUESTS_AHEAD_MAX = 4_000
"""Ours: requests that one runner has ready before an engine that is done with each at once."""

OPEN_SHARDS_MAX = 32
"""Ours: shards that one runner holds at once, so that many small batches fill an engine too."""

CLAIMABLE_BATCHES_MAX = 1_000
"""Ours: batches that the scheduler looks at for one choice."""

OUTLOOK_BATCHES_MAX = 1_000
"""Ours: live batches, the oldest first, among which a batch is told its place."""

OUTLOOK_SECONDS = 1.0
"""Ours: how old what is known of these may be."""

OUTLOOK_SPEED_SECONDS = 10.0
"""Ours: between two measurements of how fast engines are with batches, at least."""

OUTLOOK_REQUESTS_MIN = 16
"""Ours: answers of a batch from which it is told when it will have ended."""

IDLE_POLL_SECONDS = 1.0
"""Ours: how often an idle loop looks for work that nobody announced, such as an ended lease."""

FOLLOW_POLL_SECONDS = 5.0
"""Ours: how often one who follows a result file looks for what nobody told."""

WATCH_SECONDS = 0.2
"""Ours: how often a run at the terminal looks at its counters."""

REMOTE_WATCH_SECONDS = 1.0
"""Ours: how often the command line asks a server where a batch stands."""

FOLDERS_REMEMBERED_MAX = 10_000
"""Ours: folders known to be synced; about 2 MB. Forgetting one costs another sync of it."""

SEGMENTS_PAGE_SIZE = 1_000
"""Ours: sealed segments that one look at the store gives: about 100 KB."""

UPKEEP_SECONDS = 5.0
"""Ours: how often deadlines and expired files are looked for."""

SWEEP_ROWS_MAX = 500
"""Ours: rows that one sweep drops, so that it never holds the database for long."""

SCAN_NAMES = 250
"""Ours: names of a folder that one look at the disk gives, and one look at the database judges."""

ORPHAN_SECONDS = 2 * LEASE_SECONDS
"""Ours: what nothing named for this long is an orphan, not something whose row is on its way."""

ORPHAN_PASS_SECONDS = 3600.0
"""Ours: the wait between two looks at everything on the disk."""

DISK_PAUSE_SECONDS = 5.0
"""Ours: the wait after a disk refused a write, before the work is tried again elsewhere."""

ENGINE_REOPEN_SECONDS = 30.0
"""Ours: the wait before an engine that gave up is opened again."""

OPENING_PATIENCE_SECONDS = 30.0
"""Ours: how long a live request waits for an engine that is being opened, refuses or is gone."""

ALONE_SECONDS_MAX = 30.0
"""Ours: how long a live request waits for one that runs alone; as for an engine that starts."""

DRAIN_SECONDS = 25.0
"""Ours: how long a stopping server lets running requests finish before it hands them back."""

RUNNER_SLICE_SECONDS = 0.001
"""Ours: the runner yields to the API this often when its engine never waits. A call crosses the
loop about five times; with 3 ms, a busy server answered in 10 ms instead of 6."""

THREAD_SWITCH_SECONDS = 0.0005
"""Ours: how long a thread that comes back from the disk waits for the interpreter at most. Python's
own 5 ms, paid a few times a call, were half of the slowest answers of a busy server."""

# Requests ------------------------------------------------------------------------------------

ATTEMPTS_MAX = 6
"""Ours: tries of a request whose failures are marked retriable."""

ENGINE_DEATHS_MAX = 3
ENGINE_BREAKS_MAX = 30
ENDPOINT_REMEMBERED = 16
"""Ours: deaths of an engine that one request must have killed; broken connections, and failures of
an endpoint that fails for most of so many, which it must have caused: over ten minutes of them."""

RETRY_FIRST_SECONDS = 0.5
RETRY_LONGEST_SECONDS = 60.0
"""Ours: backoff doubles from the first delay to the longest, with jitter."""

PACE_PAUSE_LONGEST_SECONDS = 10.0
PACE_PAUSE_ASKED_SECONDS_MAX = 3600.0
PACE_RECOVERY_SECONDS = 30.0
"""Ours: an endpoint that refuses is asked nothing, longer if it says so, and back at full pace."""

ENDPOINT_CONNECT_SECONDS = 10.0
ENDPOINT_PATIENCE_SECONDS = 600.0
ENDPOINT_IDLE_SECONDS = 4.0
ANSWER_EVENT_BYTES_MAX = MIB
"""Ours: to connect; until one that cannot be reached is down, as large models load for minutes;
until an idle connection is closed, a second before uvicorn does; an event of a streamed answer."""

ANSWER_SECONDS = 4 * 3600.0
"""Ours: an engine that works on one request for longer hangs, unless its settings say otherwise.
Three such tries leave most of a batch's 48 hours to the others."""

ENGINE_FRAME_BYTES_MAX = 128 * MIB
"""Ours: one message between the server and an engine's process: the longest line and the largest
cached content before it, with room to spare."""

OUTPUT_TOKENS_DEFAULT = 1024
"""Ours: output limit of a request that sets none, on engines that need a number."""

ECHO_PICTURES_MAX = 8
"""Ours: pictures that the echo engine draws at once; one of 4K takes some 8 MiB on its way."""

ECHO_CHARACTERS_MAX = 16 * MIB
"""Ours: what an order to the echo engine may make it answer."""

# Cached contents -----------------------------------------------------------------------------

CACHE_BYTES_MAX = 20 * MIB
"""Ours: the body that makes a cached content, as that of any other call."""

CACHES_MAX = 1_000
"""Ours: cached contents of a tenant; at their largest they take 20 GiB of disk."""

CACHE_DISPLAY_NAME_CHARACTERS_MAX = 128
"""Google: the display name of a cached content."""

CACHE_LIFETIME_SECONDS = 3600
"""Google: a cached content that names no end."""

CACHE_LIFETIME_SECONDS_MAX = 3660 * 86400
"""Ours: ten years; a longer one is a mistake of units."""

PREFIXES_HELD_BYTES_MAX = 64 * MIB
"""Ours: cached contents that are held in memory, read, by their size on the disk."""

TOKENS_HELD_CHARACTERS_MAX = 4 * MIB
"""Ours: long turns whose tokens the embedded engine keeps; they take 25 MB at most."""

# Time ----------------------------------------------------------------------------------------

BATCH_LIFETIME_SECONDS = 48 * 3600
"""Google: an unfinished batch expires this long after its creation."""

FILE_LIFETIME_SECONDS = 48 * 3600
"""Google: uploaded files."""

RESULT_LIFETIME_SECONDS = 42 * 86400
"""Google: results are kept six weeks."""

EXPIRES_AFTER_SECONDS_MIN = 3_600
EXPIRES_AFTER_SECONDS_MAX = 2_592_000
"""OpenAI: for how long a client may want a file to be kept, an hour to thirty days."""

UPLOAD_LIFETIME_SECONDS = 7 * 86400
"""Google: resumable upload sessions are kept about a week."""

IDEMPOTENCY_SECONDS = 24 * 3600
"""Ours: how long a call with an idempotency key is known again."""

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
"""Ours: an idempotency key, as others take it."""

# Keys and quotas -----------------------------------------------------------------------------

KEYS_MAX = 10_000
"""Ours: keys that can be used at once; all are held in memory, about 5 MB."""

KEY_CACHE_SECONDS = 30.0
"""Ours: how long the keys in memory are trusted before the store is asked again."""

KEY_USE_SECONDS = 60
"""Ours: the last use of a key is recorded this often at most, because it costs a commit."""

KEY_NAME_CHARACTERS_MAX = 100
"""Ours: the label of a key, for people."""

KEY_DAYS_MAX = 3_650
"""Ours: the longest life of a key that has an end at all."""

TENANT_CHARACTERS_MAX = 40
"""Ours: the name of a tenant is a folder among its blobs."""

BYTES_PER_TOKEN = 4
"""Ours: a token of input is reckoned for this many bytes of it, before anyone has counted."""

QUOTA_RETRY_SECONDS = 60
"""Ours: when to ask again for a place that batches free as they end, which nobody can foretell."""

ADMINISTRATION_WAIT_SECONDS = 10.0
"""Ours: how long a command waits for a server that holds the data directory and is not up yet."""

ADMINISTRATION_PAUSE_SECONDS = 0.1
"""Ours: between two looks at it."""

SOCKET_PATH_BYTES_MAX = 100
"""Ours: the system takes 104 to 108 bytes as the address of a socket, its end included."""

# Reading and writing -------------------------------------------------------------------------

READ_BYTES = 512 * KIB
"""Ours: one read of a file that is streamed to a client or scanned."""

WRITE_BYTES = MIB
"""Ours: upload bytes gathered before one write."""

SEGMENT_WRITE_BYTES = 4 * MIB
"""Ours: lines of a segment gathered before one write; a shard of 2 KB answers is one."""

UPLOAD_SYNC_BYTES = 64 * MIB
"""Ours: a long piece is synced and counted this often, so that a crash costs no more of it."""

UPLOADS_OPEN_MAX = 128
"""Ours: uploads whose blob stays open between pieces; the others are opened again."""

READER_BUSY_SECONDS = 5.0
"""Ours: a look at the database waits this long in the rare moments when nobody may look."""

CHECKED_FIRST_BYTES = 32 * MIB
"""Ours: segments that are checked before an answer begins, about 30 ms; the others on the way."""

CHECK_BYTES = 16 * MIB
"""Ours: how much of a segment is checked before somebody may interrupt."""

SEGMENT_HELD_BYTES_MAX = 4 * MIB
"""Ours: a segment up to this is held while it is checked and sent; usual ones have 2 MB."""

SEGMENTS_VERIFIED_MAX = 65_536
"""Ours: segments remembered as sound, about 10 MB; one that is forgotten is read twice."""

SEGMENTS_VERIFIED_SECONDS = 3_600.0
"""Ours: and for how long; a disk can spoil at any time what it once gave rightly."""

UPLOAD_GRANULARITY_BYTES = 256 * KIB
"""Google: the announced chunk granularity of resumable uploads."""

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1_000
"""Google: batches and models; ours for batches, whose default is undocumented."""

OPENAI_BATCHES_PAGE_SIZE_DEFAULT = 20
OPENAI_BATCHES_PAGE_SIZE_MAX = 100
OPENAI_FILES_PAGE_SIZE_MAX = 10_000
"""OpenAI: batches and files; without a wish, as many files as that."""

FORM_FIELD_BYTES_MAX = KIB
FORM_FIELDS_MAX = 16
"""Ours: what a form says beside the file that it uploads."""

FILES_PAGE_SIZE_DEFAULT = 10
FILES_PAGE_SIZE_MAX = 100
"""Google: files."""

RECEIVE_TIMEOUT_SECONDS = 30.0
"""Ours: a client that sends nothing for this long in the middle of a body is dropped; so is one
whose request has no whole head by then."""

TAKE_TIMEOUT_SECONDS = 120.0
"""Ours: a client that takes next to nothing of an answer for this long is dropped. What it has not
taken can be had by a range."""

CLIENT_TIMEOUT_SECONDS = 60.0
"""Ours: our own client waits this long for a server that says nothing."""

CLIENT_PIECE_BYTES = 8 * MIB
"""Google: what its clients send of an upload at once; ours does the same."""

HEADERS_MAX = 100
HEADER_BYTES_MAX = 32 * KIB
"""Ours: headers of one HTTP request."""

HEAD_BYTES_MAX = 2 * HEADER_BYTES_MAX + 64 * KIB
"""Ours: the whole head of a request, its address too; what is over it is refused before its end."""

DESCRIPTORS_WANTED = 16_384
"""Ours: sockets and files that may be open at once, if the system lets us. Many systems begin with
1,024, which a thousand idle clients use up."""

DISK_RESERVE_BYTES = 2 * GIB
DISK_RESERVE_SHARE = 0.05
"""Ours: the smaller of the two stays free for finishing what was accepted; new work is refused."""

ROOM_SECONDS = 0.25
"""Ours: how old a look at the disk may be when bytes of an upload are taken; at a GB a second that
is an eighth of the reserve."""
