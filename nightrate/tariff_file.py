"""The file of prices, read: TOML, in which decimals stay what they are written as."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from nightrate.domain.tariff import Tariff, TokenPrices
from nightrate.errors import SettingsFault


def read_tariff(path: Path) -> Tariff:
    """Read a tariff.

    Raises:
        SettingsFault: it cannot be read, is not TOML, or holds what a tariff has not; every problem
            at once.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise SettingsFault([f"tariff file {path} cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsFault([f"tariff file {path} is not TOML: {error}"]) from error
    problems: list[str] = []
    models = found.pop("models", {})
    tariff: Tariff | None = _read(found, Tariff, f"tariff file {path}", problems)
    prices: dict[str, TokenPrices] = {}
    if isinstance(models, dict):
        for name, table in models.items():
            at = f"tariff file {path}, models.{name!r}"
            prices[name] = _read(table, TokenPrices, at, problems)
    else:
        problems.append(f"tariff file {path}: `models` is no table of tables")
    if problems or tariff is None:
        raise SettingsFault(problems)
    return msgspec.structs.replace(tariff, models=prices)


def _read(found: Any, kind: type[Any], at: str, problems: list[str]) -> Any:
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{at}: {error}")
    return None
