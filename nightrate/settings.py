"""Settings: one TOML file, ``NIGHTRATE_*`` environment, flags; later ones win.

Unknown keys are refused, and all problems are told at once. Every value remembers where it came
from, which ``nightrate settings`` prints.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from nightrate import limits
from nightrate.domain.tariff import Tariff
from nightrate.errors import SettingsFault
from nightrate.limits import GIB
from nightrate.remote import DEFAULT_BASE_URL, Remote, require_http
from nightrate.tariff_file import read_tariff

ENVIRONMENT_PREFIX = "NIGHTRATE_"

_DAYS_MAX = 36_500
_HOURS_MAX = 24 * 365
"""A century: beyond it lies a slip of the pen."""

DEFAULT_ENGINE = "openvino"
DEFAULT_EMBEDDING_ENGINE = "minilm"
DEFAULT_PICTURE_ENGINE = "illustrator"

_EMBEDDED = frozenset({DEFAULT_ENGINE, DEFAULT_EMBEDDING_ENGINE, DEFAULT_PICTURE_ENGINE})
"""Engines that keep what they fetch in the cache directory."""

_TABLES = {"enqueued_tokens_max", "engines", "models"}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set. The docstring of each field is its entry in the documentation."""

    host: str = "127.0.0.1"
    """Address to listen on. Without API keys, only loopback addresses are accepted."""
    port: int = 8080
    """Port to listen on; 0 takes any free one."""
    data: str = "nightrate-data"
    """Directory of everything that is kept."""
    cache: str = ""
    """Directory of fetched and converted weights; empty: ``~/.cache/nightrate``."""
    public_url: str = ""
    """How clients reach the server, when a proxy hides it; empty: taken from each request."""
    concurrent_batches_max: int = 100
    """How many batches may be pending or running at once; one more is refused with 429."""
    strict: bool = False
    """Refuses a batch when one request cannot be read; else that request alone fails."""
    file_storage_bytes_max: int = 20 * GIB
    """How many bytes of uploaded files a tenant may have; more is refused with 429."""
    enqueued_tokens_max: dict[str, int] = {}
    """How many input tokens a tenant may have in live batches of a model, by name or pattern."""
    partial_results: bool = True
    """Whether a batch that was cancelled or expired hands out what it had finished; those that
    OpenAI's clients made always do."""
    batch_hours_max: int = 48
    """How many hours after its creation a batch that has not ended expires."""
    results_kept_days: int = 42
    """How many days the result file of a batch is kept, from the end of the batch on."""
    changes_by_get: bool = True
    """Whether `:cancel` and `:delete` are served by GET too, as documentation shows them."""
    cached_tokens_min: int = 0
    """How many tokens a cached content must have; Google asks for 1,024 to 4,096 by model."""
    webhooks_private: bool = False
    """Lets webhooks go to private networks, and over plain HTTP. Loopback always may."""
    search: str = "index"
    """Requests with the search tool: `index` looks into the documents of `nightrate index`, the
    address of a SearXNG asks that, `empty` finds nothing and says so, `refuse` fails them."""
    url_context: Literal["fetch", "refuse"] = "fetch"
    """Requests with the tool that reads the pages which users name: `fetch` serves it, `refuse`
    fails them."""
    url_context_private: bool = False
    """Lets pages be fetched from this machine and from private networks, over plain HTTP and from
    any port."""
    tariff: str = ""
    """TOML file of what tokens cost, by model; empty: receipts tell tokens and times only."""
    engine: str = ""
    """Runs every model on this one engine, whatever ``models`` says; empty: no such override."""
    models: dict[str, str] = {}
    """Which engine answers for a model name, or for a pattern such as ``gemini-*``."""
    engines: dict[str, dict[str, Any]] = {}
    """Options of each engine by name. ``kind`` names the kind of engine when it is not the name;
    ``answer_seconds`` is how long it may work on one request before it counts as hung."""

    def model_rules(self) -> dict[str, str]:
        """Give the table of models with the override and the default applied."""
        if not self.models:
            return {
                "gemini-*": self.engine or DEFAULT_ENGINE,
                "*embedding*": self.engine or DEFAULT_EMBEDDING_ENGINE,
                "*image*": self.engine or DEFAULT_PICTURE_ENGINE,
            }
        if self.engine:
            return dict.fromkeys(self.models, self.engine)
        return dict(self.models)

    def engine_options(
        self, name: str, environment: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Give the kind of a named engine and its own options, with what these only refer to.

        Args:
            name: which one.
            environment: the process environment unless a test says otherwise.

        Raises:
            SettingsFault: a variable or a file that an option refers to is not there.
        """
        problems: list[str] = []
        environment = os.environ if environment is None else environment
        options = {
            option: _resolved(value, f"engines.{name}.{option}", environment, problems)
            for option, value in self.engines.get(name, {}).items()
        }
        if problems:
            raise SettingsFault(problems)
        kind = str(options.pop("kind", name))
        options.pop("answer_seconds", None)
        if kind in _EMBEDDED and self.cache:
            options.setdefault("cache_directory", self.cache)
        return kind, options

    def read_tariff(self) -> Tariff | None:
        """Read what tokens cost, if that is set.

        Raises:
            SettingsFault: the file cannot be read, or holds what a tariff has not.
        """
        return read_tariff(Path(self.tariff)) if self.tariff else None

    def answer_seconds(self, name: str) -> float:
        """Give how long a named engine may work on one request."""
        return float(self.engines.get(name, {}).get("answer_seconds", limits.ANSWER_SECONDS))


def _resolved(value: Any, at: str, environment: Mapping[str, str], problems: list[str]) -> Any:
    """Put the content of a variable or a file where an option refers to one."""
    if not isinstance(value, dict):
        return value
    match value:
        case {"env": str(variable)} if len(value) == 1:
            if variable not in environment:
                problems.append(f"{at}: there is no environment variable {variable}")
            return environment.get(variable, "").strip()
        case {"file": str(path)} if len(value) == 1:
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                problems.append(f"{at}: {path} cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                problems.append(f"{at}: {path} is no text")
            return ""
    return {key: _resolved(one, f"{at}.{key}", environment, problems) for key, one in value.items()}


def server_of(base_url: str | None, environment: Mapping[str, str] | None = None) -> Remote:
    """Find the server that a command is about, and the key to it.

    Args:
        base_url: what the command line says; None when it does not.
        environment: the process environment unless a test says otherwise. The variables are those
            of Google's clients.

    Raises:
        SettingsFault: the address is not one of HTTP.
    """
    environment = os.environ if environment is None else environment
    address, origin = base_url, "--base-url"
    if address is None:
        origin = "environment variable GOOGLE_GEMINI_BASE_URL"
        address = environment.get("GOOGLE_GEMINI_BASE_URL") or DEFAULT_BASE_URL
    try:
        require_http(address)
    except ValueError as error:
        raise SettingsFault([f"{origin}: {error}"]) from error
    key = environment.get("GOOGLE_API_KEY") or environment.get("GEMINI_API_KEY", "")
    return Remote(address.rstrip("/"), key)


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each value came from."""

    settings: Settings
    origins: dict[str, str]


def load(
    config: Path | None,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Put the settings together.

    Args:
        config: a TOML file; None reads the one that ``NIGHTRATE_CONFIG`` names, if it does.
        flags: values given on the command line; None values are not given.
        environment: the process environment unless a test says otherwise.

    Raises:
        SettingsFault: every problem at once.
    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.__struct_fields__, "default")
    named = environment.get(ENVIRONMENT_PREFIX + "CONFIG")
    config = config or (Path(named) if named else None)
    if config is not None:
        for key, value in _read(config, problems).items():
            values[key] = value
            origins[key] = str(config)
    for name, text in environment.items():
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not name.startswith(ENVIRONMENT_PREFIX) or key == "config":
            continue
        if key in _TABLES:
            problems.append(f"{name}: tables are set in the settings file, not by environment")
        else:
            values[key] = text
            origins[key] = f"environment variable {name}"
    for key, value in flags.items():
        if value is not None:
            values[key] = value
            origins[key] = f"--{key.replace('_', '-')}"
    settings = _convert(values, origins, problems)
    if settings is not None:
        problems += _contradictions(settings)
    if problems or settings is None:
        raise SettingsFault(problems)
    return Loaded(settings, origins)


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"settings file {path} does not exist")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"settings file {path} is not TOML: {error}")
    except OSError as error:
        problems.append(f"settings file {path} cannot be read: {error.strerror}")
    return {}


def _convert(
    values: dict[str, Any], origins: dict[str, str], problems: list[str]
) -> Settings | None:
    """Check each value on its own, so that every problem is found."""
    known = Settings.__struct_fields__
    hints = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            names = ", ".join(known)
            problems.append(f"{key} ({origins[key]}): unknown setting; there are: {names}")
            continue
        try:
            good[key] = msgspec.convert(value, hints[key], strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{key} ({origins[key]}): {error}")
    return None if problems else Settings(**good)


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if not 0 <= settings.port <= 65535:  # noqa: PLR2004 - the range of TCP ports
        problems.append(f"port {settings.port}: not between 0 and 65535")
    if not 1 <= settings.batch_hours_max <= _HOURS_MAX:
        problems.append(f"batch_hours_max {settings.batch_hours_max}: not 1 to {_HOURS_MAX}")
    if not 1 <= settings.results_kept_days <= _DAYS_MAX:
        problems.append(f"results_kept_days {settings.results_kept_days}: not 1 to {_DAYS_MAX}")
    if settings.concurrent_batches_max < 1:
        problems.append(f"concurrent_batches_max {settings.concurrent_batches_max}: not 1 or more")
    if settings.file_storage_bytes_max < 1:
        problems.append(f"file_storage_bytes_max {settings.file_storage_bytes_max}: not 1 or more")
    problems += [
        f"enqueued_tokens_max {name!r}: {most} is less than 0"
        for name, most in settings.enqueued_tokens_max.items()
        if most < 0
    ]
    problems += [
        f"engines.{name}.api_key: a key that stands here would be shown with the settings; "
        'write { env = "VARIABLE" } or { file = "PATH" }'
        for name, options in settings.engines.items()
        if isinstance(options.get("api_key"), str)
    ]
    for name, options in settings.engines.items():
        seconds = options.get("answer_seconds", 1)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            problems.append(f"engines.{name}.answer_seconds {seconds!r}: not a number above 0")
    if settings.cached_tokens_min < 0:
        problems.append(f"cached_tokens_min {settings.cached_tokens_min}: not 0 or more")
    try:
        settings.read_tariff()
    except SettingsFault as fault:
        problems += fault.problems
    return problems
