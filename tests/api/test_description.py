"""The description of the doors holds every door, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from nightrate.api.description import DOCUMENT
from tests.api.doors import Doors

METHODS = {"get", "post", "put", "patch", "delete"}
ALIASES = {"/{alias}/upload/{version}/files"}
"""Paths that only a mistake of a client asks for; their proper form is described."""


def described() -> Any:
    return msgspec.json.decode(DOCUMENT)


def doors_of(app: Starlette) -> Iterator[tuple[str, str]]:
    """Give each (path, method) of the route table, in the spelling of the description."""
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.path == "/{profile:profile}", "the same doors under a prefix"
            continue
        assert isinstance(route, Route)
        path = re.sub(r":[a-z]+}", "}", route.path)
        if path not in ALIASES:
            yield from (
                (path, method.lower()) for method in route.methods or () if method != "HEAD"
            )


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        yield from ((path, name, item[name]) for name in item if name in METHODS)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_door_is_described_and_nothing_else(doors: Doors) -> None:
    told = {(path, method) for path, method, _ in operations(described())}
    assert told == set(doors_of(doors.app))


def test_the_description_is_served(doors: Doors) -> None:
    answer = doors.ask("GET", "/openapi.json")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["openapi"].startswith("3.1")
    assert answer.json == described()


def test_every_part_of_the_description_is_used_and_every_reference_leads_somewhere() -> None:
    document = described()
    parts = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
        if kind != "securitySchemes"  # these are named, not referred to
    }
    assert set(references(document)) == parts


def test_every_parameter_of_a_path_is_described() -> None:
    document = described()
    for path, item in document["paths"].items():
        found = {reference.rpartition("/")[2] for reference in references(item["parameters"])}
        assert found == set(re.findall(r"{(\w+)}", path)), path


def test_every_operation_has_a_name_of_its_own_and_says_how_it_refuses() -> None:
    names = [operation["operationId"] for _, _, operation in operations(described())]
    assert len(set(names)) == len(names)
    for path, method, operation in operations(described()):
        assert "400" in operation["responses"], (method, path)
