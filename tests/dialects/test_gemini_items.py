"""Stored items become values with commas between them, wherever their bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise

from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Candidate, Reply, Usage

REPLY = Reply((Candidate(" a\n b"),), Usage(1, 1), "m")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
METADATA = st.none() | st.dictionaries(st.text(), st.text() | JSON, max_size=3)


def item(metadata: object) -> bytes:
    raw = None if metadata is None else json.dumps(metadata).encode()
    return render_line(Echo(None, raw), REPLY, BatchForm.INLINE, "r1") + b"\n"


def joined(data: bytes, cuts: list[int], profile: Profile) -> list[dict[str, object]]:
    joiner = ItemJoiner(profile)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(edges)]
    found = json.loads(b"[" + b"".join(map(joiner.feed, pieces)) + b"]")
    assert isinstance(found, list)
    return found


def spelled(value: object) -> object:
    return value if isinstance(value, str) else json.dumps(value)


@given(st.lists(METADATA, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_each_profile_has_its_values_however_the_bytes_are_cut(
    metadata: list[dict[str, object] | None], cuts: list[int]
) -> None:
    data = b"".join(map(item, metadata))
    raw = joined(data, cuts, Profile.EXACT)
    assert [one.get("metadata") for one in raw] == metadata
    shown = joined(data, cuts, Profile.DOCUMENTED)
    assert [one["response"] for one in shown] == [one["response"] for one in raw]
    for one, given_ in zip(shown, metadata, strict=True):
        wanted = None if given_ is None else {name: spelled(given_[name]) for name in given_}
        assert one.get("metadata") == wanted
        types.InlinedResponse.model_validate(one)


def test_only_an_item_that_needs_it_is_marked() -> None:
    assert not item({"key": "k"}).startswith(b"\r")
    assert not item(None).startswith(b"\r")
    assert item({"n": 1}).startswith(b'\r{"response":')


def test_a_marked_item_that_comes_byte_by_byte_is_held_until_it_is_whole() -> None:
    data = item({"n": 1.50}) + item({"key": "k"})
    joiner = ItemJoiner(Profile.DOCUMENTED)
    pieces = [joiner.feed(data[place : place + 1]) for place in range(len(data))]
    whole = len(item({"n": 1.50}))
    assert b"".join(pieces[: whole - 1]) == b""
    assert b'"metadata":{"n":"1.5"}' in pieces[whole - 1]
    assert json.loads(b"[" + b"".join(pieces) + b"]")[1]["metadata"] == {"key": "k"}
