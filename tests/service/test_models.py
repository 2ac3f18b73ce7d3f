"""Which names are served: exact names first, then patterns in order."""

from __future__ import annotations

import pytest

from nightrate.domain.batch import Method
from nightrate.domain.generation import Capability
from nightrate.errors import Code, NotFound
from nightrate.service.models import KNOWN_NAMES, Models


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "models/gemini-2.5-flash", "tunedModels/x"])
def test_a_name_is_found_with_or_without_its_prefix(name: str) -> None:
    model = Models({"*": "text"}).resolve(name)
    assert model.engine == "text"
    assert "/" not in model.name


def test_an_exact_name_comes_before_every_pattern() -> None:
    models = Models({"gemini-*": "text", "gemini-2.5-pro": "large"})
    assert models.resolve("gemini-2.5-pro").engine == "large"
    assert models.resolve("gemini-2.5-flash").engine == "text"


def test_an_earlier_pattern_comes_before_a_later_one() -> None:
    models = Models({"gemini-2*": "two", "gemini-*": "any"})
    assert models.engine_of("gemini-2.5-pro") == "two"
    assert models.engine_of("gemini-3-pro") == "any"


def test_an_unknown_name_is_refused_and_told_what_is_served() -> None:
    with pytest.raises(NotFound, match=r"models/gpt-9 is not found.*gemini-\*") as caught:
        Models({"gemini-*": "text"}).resolve("models/gpt-9")
    assert caught.value.code is Code.NOT_FOUND


def test_without_rules_nothing_is_served() -> None:
    models = Models({})
    assert models.list() == []
    with pytest.raises(NotFound, match="serves: none"):
        models.resolve("gemini-2.5-flash")


@pytest.mark.parametrize(
    "name", ["gemini-embedding-001", "gemini-2.5-flash-image", "imagen-4", "gemini-2.5-pro-tts"]
)
def test_a_pattern_does_not_make_a_text_engine_answer_for_other_kinds_of_models(name: str) -> None:
    with pytest.raises(NotFound):
        Models({"*": "text"}).resolve(name)
    assert Models({"*": "text", name: "special"}).resolve(name).engine == "special"


def test_names_are_exact_about_case_and_stars() -> None:
    models = Models({"a*": "text"})
    assert models.engine_of("A1") is None
    assert models.engine_of("a*") == "text"


def test_the_list_holds_exact_names_and_those_of_the_documentation_sorted() -> None:
    names = [model.name for model in Models({"gemini-*": "text", "my-model": "other"}).list()]
    text = [name for name in KNOWN_NAMES if "embedding" not in name and "image" not in name]
    assert names == sorted([*text, "my-model"])
    assert [model.name for model in Models({"my-model": "other"}).list()] == ["my-model"]


# methods --------------------------------------------------------------------------------------


TEXT, VECTORS = frozenset({Capability.TEXT}), frozenset({Capability.EMBEDDINGS})
OFFERS = {
    "text": TEXT,
    "vectors": VECTORS,
    "both": TEXT | VECTORS,
    "artist": TEXT | {Capability.IMAGES},
    "painter": frozenset({Capability.IMAGES}),
}
RULES = {"*embedding*": "vectors", "gemini-*": "text"}


def served(rules: dict[str, str]) -> Models:
    return Models(rules, lambda engine: OFFERS[engine])


def test_what_a_name_means_at_google_it_means_here() -> None:
    models = served(RULES)
    assert models.resolve("gemini-2.5-flash").methods == {Method.GENERATE}
    for name in ("gemini-embedding-001", "gemini-embedding-2", "text-embedding-004"):
        assert models.resolve(name).methods == {Method.EMBED}
    assert [model.name for model in models.list()] == [
        name for name in KNOWN_NAMES if "image" not in name
    ]
    alone = served({"*": "both"})
    assert alone.resolve("gemini-2.5-flash").methods == {Method.GENERATE}
    assert alone.resolve("gemini-embedding-001").methods == {Method.EMBED}


def test_any_other_name_does_all_that_its_engine_can() -> None:
    assert served({"mine": "both"}).resolve("mine").methods == {Method.GENERATE, Method.EMBED}
    assert served({"m-*": "vectors"}).resolve("m-1").methods == {Method.EMBED}
    assert served({"gemini-9": "vectors"}).resolve("gemini-9").methods == {Method.EMBED}


def test_a_pattern_covers_only_what_its_engine_can_do() -> None:
    assert served({"gemini-*": "text", "*": "vectors"}).engine_of("gemini-embedding-2") == "vectors"
    assert served({"gemini-*": "text"}).engine_of("gemini-embedding-2") is None
    assert served({"*": "vectors"}).engine_of("gemini-2.5-flash") is None


def test_a_model_that_does_something_else_is_refused_and_told_which_do_it() -> None:
    models = served(RULES)
    assert models.resolve("models/gemini-embedding-001", Method.EMBED).engine == "vectors"
    with pytest.raises(NotFound, match=r"not supported for embedding. These are: gemini-embedding"):
        models.resolve("gemini-2.5-flash", Method.EMBED)
    with pytest.raises(NotFound, match=r"gemini-embedding-2 is not supported for generating text"):
        models.resolve("gemini-embedding-2", Method.GENERATE)
    with pytest.raises(NotFound, match=r"not supported for embedding\.$"):
        served({"mine": "text"}).resolve("mine", Method.EMBED)


def test_names_of_pictures_resolve_by_a_pattern_to_an_engine_that_draws() -> None:
    models = served({"gemini-3*": "text", "gemini-*": "artist"})
    assert models.engine_of("gemini-3-pro-image-preview") == "artist"
    assert models.engine_of("gemini-3-pro-preview") == "text"
    assert models.engine_of("imagen-4") is None
    assert "gemini-2.5-flash-image" in {model.name for model in models.list()}


def test_an_engine_that_only_draws_answers_for_names_of_pictures_and_its_own() -> None:
    models = served({"gemini-*": "painter", "mine": "painter"})
    assert models.resolve("gemini-3-pro-image-preview").methods == {Method.GENERATE}
    assert models.resolve("mine", Method.GENERATE).engine == "painter"
    assert models.engine_of("gemini-2.5-flash") is None


def test_a_name_of_pictures_that_nobody_draws_is_refused_with_the_reason() -> None:
    with pytest.raises(NotFound, match="draws pictures, and no engine of this server does"):
        served({"gemini-*": "text"}).resolve("gemini-2.5-flash-image")
