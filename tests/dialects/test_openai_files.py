"""Files and models as OpenAI's client reads them."""

from __future__ import annotations

import json

import pytest
from openai.types import FileDeleted, FileObject, Model

from nightrate.dialects import openai as wire
from nightrate.domain import model as models
from nightrate.domain.batch import Method
from nightrate.domain.file import File, FileSource
from nightrate.errors import BadRequest, NotSupported

SECOND = 1_000_000


def make_file(source: FileSource = FileSource.UPLOADED, name: str | None = "in.jsonl") -> File:
    return File(
        tenant="t",
        file_id="abc",
        blob="b",
        display_name=name,
        mime_type="x",
        size_bytes=5,
        sha256=None,
        source=source,
        created_at=7 * SECOND,
        updated_at=8 * SECOND,
        expires_at=9 * SECOND,
    )


def test_a_file_has_its_id_and_its_times() -> None:
    found = json.loads(wire.render_file(make_file()))
    assert found == {
        "id": "files/abc",
        "object": "file",
        "bytes": 5,
        "created_at": 7,
        "expires_at": 9,
        "filename": "in.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    assert FileObject.model_validate(found).id == "files/abc"


def test_results_are_for_reading_and_a_file_without_a_name_has_its_id() -> None:
    found = json.loads(wire.render_file(make_file(FileSource.GENERATED, None)))
    assert (found["purpose"], found["filename"]) == ("batch_output", "abc")


def test_a_page_of_files_says_whether_there_are_more() -> None:
    found = json.loads(wire.render_files([make_file()], has_more=True))
    assert (found["object"], found["has_more"], len(found["data"])) == ("list", True, 1)
    assert found["first_id"] == found["last_id"] == "files/abc"
    empty = json.loads(wire.render_files([], has_more=False))
    assert empty["first_id"] is empty["last_id"] is None
    assert (empty["data"], empty["has_more"]) == ([], False)


def test_a_file_that_is_gone() -> None:
    found = FileDeleted.model_validate_json(wire.render_deleted_file("abc"))
    assert (found.id, found.deleted) == ("files/abc", True)


def test_what_a_file_is_for_is_checked() -> None:
    wire.check_purpose("batch")
    for purpose in (None, "", "batch_output", "x"):
        with pytest.raises(BadRequest, match=r"^purpose: "):
            wire.check_purpose(purpose)
    with pytest.raises(NotSupported, match=r"^purpose: "):
        wire.check_purpose("fine-tune")


def test_how_long_a_file_is_kept_is_checked() -> None:
    assert wire.expiry_seconds(None, None) is None
    assert wire.expiry_seconds("created_at", "3600") == 3600
    for after in (None, "3599", "2592001", "1e4", "-1", "9" * 20):
        with pytest.raises(BadRequest) as caught:
            wire.expiry_seconds("created_at", after)
        assert caught.value.field == "expires_after.seconds"
    for anchor in (None, "now"):
        with pytest.raises(BadRequest) as caught:
            wire.expiry_seconds(anchor, "3600")
        assert caught.value.field == "expires_after.anchor"


def test_models_are_listed_by_their_whole_names() -> None:
    model = models.Model(
        name="gemini-x",
        engine="echo",
        methods=frozenset({Method.GENERATE}),
        display_name="x",
        description="x",
        version="1",
        input_token_limit=1,
        output_token_limit=1,
    )
    found = json.loads(wire.render_model(model))
    assert found == {"id": "models/gemini-x", "object": "model", "created": 0, "owned_by": "google"}
    assert Model.model_validate(found).id == "models/gemini-x"
    assert json.loads(wire.render_models([model])) == {"object": "list", "data": [found]}
