"""Form: the sizes, homes and words that the project holds itself to."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from statistics import median

from tests.tidy.tree import (
    PACKAGE,
    ROOT,
    constants,
    dotted,
    imported,
    in_package,
    package_files,
    parse,
    python_files,
    short,
    text_files,
)

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
FILE_LINES_MEDIAN = 150

UNITS = {"KIB", "MIB", "GIB"}
"""Names of `limits` that bound nothing."""

HOMES: dict[str, tuple[str, set[str]]] = {
    # what: (what to use instead, the files that are its home)
    "time": ("nightrate.clock", {"clock.py"}),
    # Beside it, chance that is to be foreseen.
    "random": ("nightrate.clock", {"clock.py", "testing/simulation/chance.py"}),
    "secrets": ("nightrate.clock", {"clock.py"}),
    "uuid": ("nightrate.clock.new_id", set()),
    "datetime.datetime.now": ("nightrate.clock.now", set()),
    "datetime.now": ("nightrate.clock.now", set()),
    "datetime.utcnow": ("nightrate.clock.now", set()),
    # The client runs in programs of others, where the server's settings mean nothing.
    "os.environ": ("nightrate.settings", {"settings.py", "client.py"}),
    "os.getenv": ("nightrate.settings", {"settings.py"}),
    "json": ("msgspec.json, or dialects/tolerant for a client's bytes", set()),
    "asyncio.sleep": ("nightrate.clock.sleep", {"clock.py"}),
    "print": ("the command line", {"cli.py", "testing/simulation/__main__.py"}),
}

BROAD_CATCHES: dict[str, str] = {
    # file: why everything is caught there, and where it goes
    "api/middleware.py": "around one call: answered with an error and logged",
    "testing/simulation/processes.py": "around one call: given to whoever made it",
    "engines/illustrator.py": "around one drawing in a thread: given to whoever asked for it",
    "engines/llama_cpp_model.py": "within a library that lets nothing through: raised behind it",
    "service/execute.py": "around one request: becomes its outcome and is logged",
    "tools/documents.py": "around a foreign parser of files: becomes the file's fault",
    "work/planner.py": "around one input: counts as a failed try and is logged",
}

GIVEN_BY_NAME = {"uvloop"}
"""Dependencies that nobody imports: the server is told their names."""

USED_THROUGH = {
    "uvicorn.protocols.http.httptools_impl": "httptools",
    "trafilatura": "lxml_html_clean",
}
"""Modules that need a dependency which the module's own package does not bring."""

IMPORTED_AS = {"beautifulsoup4": "bs4", "pillow": "PIL", "pyjwt": "jwt"}
"""Dependencies whose modules are called otherwise."""

BROUGHT_WITH = {"jinja2": "vllm"}
"""Modules of packages that come with one that is declared, and are used with it only."""

ENTRANCES = {
    *("__main__.py", "cli.py", "client.py"),
    *("llama_cpp_child.py", "minilm_child.py", "openvino_child.py", "openvino_images_child.py"),
    "vllm_child.py",
}
"""Modules that are started, or imported by programs of others."""

FOREIGN_WORDS = re.compile(
    r"(?<![\w.)}])/(?:wor[k]|far[m]|roo[t])/"  # a place on the machine of its author
    r"|pypi\.or[g]|pythonhoste[d]|registry\.npmj[s]|deb\.debia[n]|--index-ur[l]"
)

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines(path: Path) -> int:
    """Count the lines of a file."""
    return len(path.read_text("utf-8").splitlines())


def uses(path: Path) -> Iterator[tuple[str, int]]:
    """Give what a module reaches outside: imported modules, dotted names and bare calls."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield dotted(node), node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def catches_everything(node: ast.AST) -> bool:
    """Tell whether a piece of code stops any error at all, and does not raise it again."""
    if isinstance(node, ast.Call) and dotted(node.func) in {"suppress", "contextlib.suppress"}:
        return any(dotted(argument) in {"Exception", "BaseException"} for argument in node.args)
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    broad = any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds)
    last = node.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_no_file_is_longer_than_a_room_may_be() -> None:
    long = {short(path): lines(path) for path in python_files() if lines(path) > FILE_LINES_MAX}
    assert not long


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{short(path)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in ast.walk(parse(path))
        if isinstance(node, FUNCTIONS)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def test_files_are_small_on_the_whole() -> None:
    sizes = [lines(path) for path in package_files() if path.name != "__init__.py"]
    assert median(sizes) <= FILE_LINES_MEDIAN


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        short(path)
        for path in python_files()
        if path.read_text("utf-8").strip() and not ast.get_docstring(parse(path))
    ]
    assert not silent


def test_every_module_has_its_line_in_the_map_and_no_line_is_stale() -> None:
    modules = {
        in_package(path).removesuffix(".py")
        for path in package_files()
        if path.name != "__init__.py"
    }
    rows = re.findall(
        r"^\| `([\w/]+)` \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(rows) == sorted(modules)
    for room, lines_of_room in groupby(rows, key=lambda row: row.rpartition("/")[0]):
        names = list(lines_of_room)
        assert names == sorted(names), f"the lines of {room} are not in the order of their names"


def test_outside_things_are_used_in_their_home_only() -> None:
    strays = [
        f"{short(path)}:{line} {what}: use {HOMES[what][0]}"
        for path in package_files()
        for what, line in uses(path)
        if what in HOMES and in_package(path) not in HOMES[what][1]
    ]
    assert not strays


def test_nothing_swallows_every_error_without_a_reason() -> None:
    found = {
        in_package(path)
        for path in package_files()
        if any(catches_everything(node) for node in ast.walk(parse(path)))
    }
    assert found == set(BROAD_CATCHES)


def test_tests_do_not_sleep() -> None:
    sleepers = [
        f"{short(path)}:{node.lineno}"
        for path in python_files()
        if short(path).startswith("tests/")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] == "sleep"
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert not sleepers


def test_every_limit_bounds_something() -> None:
    rooms = {path for path in package_files() if path.stem.endswith("limits")}
    bounds, elsewhere = (
        "\n".join(path.read_text("utf-8") for path in paths)
        for paths in (rooms, set(package_files()) - rooms)
    )
    names = set(re.findall(r"^([A-Z][A-Z0-9_]+)\b", bounds, re.MULTILINE)) - UNITS
    used = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", elsewhere))
    assert sorted(names - used) == []


def test_no_module_lies_unused() -> None:
    reached = set[str]().union(*(imported(path) | constants(path) for path in package_files()))
    unused = []
    for path in package_files():
        name = ".".join(("nightrate", *path.relative_to(PACKAGE).with_suffix("").parts))
        # Whoever tests an engine or a store of his own imports `testing`.
        entrance = path.name in ENTRANCES or path.parent.name == "testing"
        if path.name != "__init__.py" and not entrance and name not in reached:
            unused.append(short(path))
    assert not unused


def test_the_base_install_and_its_extras_bring_what_the_package_imports_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {**project["optional-dependencies"], "dev": []}
    declared = {
        re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower().replace("-", "_")
        for line in [*project["dependencies"], *chain.from_iterable(extras.values())]
    }
    # Contract classes are for people who have a test runner already.
    served = [path for path in package_files() if path.parent.name != "testing"]
    names = {name for path in served for name in imported(path)}
    roots = {name.split(".")[0] for name in names}
    roots |= {
        used for module, used in USED_THROUGH.items() if any(module in name for name in names)
    }
    named = GIVEN_BY_NAME & set[str]().union(*(constants(path) for path in package_files()))
    roots = {BROUGHT_WITH.get(name, name) for name in roots}
    assert (roots | named) - sys.stdlib_module_names - {"nightrate"} == {
        IMPORTED_AS.get(name, name) for name in declared
    }


def test_the_project_speaks_only_of_itself() -> None:
    strays = [
        f"{short(path)}:{number} {line[:100]}"
        for path in text_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if FOREIGN_WORDS.search(line)
    ]
    assert not strays


def test_every_exclusion_from_the_lint_rules_gives_its_reason() -> None:
    block = (ROOT / "pyproject.toml").read_text("utf-8").split("[tool.ruff.lint]")[1]
    block = block.split("[tool.ruff.lint.pydocstyle]")[0]
    bare = re.findall(r'^(?:ignore|"[^"]+") = (?:\[\n\s*"|\["\w).*', block, re.MULTILINE)
    assert not bare


def test_the_licence_is_here_and_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text("utf-8")
