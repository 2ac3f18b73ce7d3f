"""Grammars of numbers within bounds: every number that they spell lies between two others."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from nightrate.domain.schema import Number

DIGITS_MAX = 15
"""Digits before the point: all of them survive in a double, which is what readers make of them."""

_DECIMALS_MIN = 2
_DECIMALS_MAX = 6
_LARGEST = 10**DIGITS_MAX - 1

INTEGER = f'"-"? ("0" | [1-9] [0-9]{{0,{DIGITS_MAX - 1}}})'
NUMBER = f'{INTEGER} ("." [0-9]{{1,{DIGITS_MAX}}})?'


def grammar_of_number(node: Number) -> str | None:
    """Write the grammar of a number; None when no number of a sensible length keeps its bounds.

    A whole number within its bounds can always be spelled, up to 15 digits. Other numbers have as
    many decimals as the longer bound, at least two and at most six.
    """
    bounds = (node.at_least, node.at_most, node.above, node.below)
    if all(bound is None for bound in bounds):
        return INTEGER if node.whole else NUMBER
    decimals = 0 if node.whole else max(_DECIMALS_MIN, *map(_decimals, bounds))
    decimals = min(decimals, _DECIMALS_MAX)
    low = _scaled(node.at_least, node.above, decimals, upwards=True)
    high = _scaled(node.at_most, node.below, decimals, upwards=False)
    if low > high:
        return None
    pieces = []
    if low < 0:
        below_zero = _patterns(max(1, -high), -low, decimals)
        pieces.append(f'"-" ({" | ".join(below_zero)})')
    if high >= 0:
        pieces += _patterns(max(0, low), high, decimals)
    return " | ".join(pieces)


def _decimals(bound: float | None) -> int:
    if bound is None:
        return 0
    exponent = Decimal(str(bound)).normalize().as_tuple().exponent
    assert isinstance(exponent, int), "bounds are finite"
    return max(0, -exponent)


def _scaled(closed: float | None, open_: float | None, decimals: int, *, upwards: bool) -> int:
    """Give the outermost number that keeps both bounds, in units of the last decimal."""
    way = 1 if upwards else -1
    rounding = ROUND_CEILING if upwards else ROUND_FLOOR
    found: int = -way * _LARGEST * 10**decimals
    for bound, is_open in ((closed, False), (open_, True)):
        if bound is None:
            continue
        exact = Decimal(str(bound)).scaleb(decimals)
        value = int(exact.to_integral_value(rounding=rounding))
        if is_open and value == exact:
            value += way
        found = max(found, value) if upwards else min(found, value)
    return found


def _patterns(low: int, high: int, decimals: int) -> list[str]:
    """Spell the numbers from one to another, both 0 or more, with a point before the decimals."""
    patterns = []
    shortest = decimals + 1
    for width in range(max(shortest, len(str(low))), max(shortest, len(str(high))) + 1):
        first = max(low, 0 if width == shortest else 10 ** (width - 1))
        last = min(high, 10**width - 1)
        if first <= last:
            digits = [str(first).zfill(width), str(last).zfill(width)]
            patterns += [_spelled(classes, decimals) for classes in _between(*digits)]
    return patterns


def _between(low: str, high: str) -> list[list[tuple[str, str]]]:
    """Cut the numbers of one width into rows of digit classes."""
    if not low:
        return [[]]
    first, last = low[0], high[0]
    rest = len(low) - 1
    if low == "0" * (rest + 1) and high == "9" * (rest + 1):
        return [[("0", "9")] * (rest + 1)]
    if first == last:
        return [[(first, first), *row] for row in _between(low[1:], high[1:])]
    rows = []
    whole_low, whole_high = low[1:] == "0" * rest, high[1:] == "9" * rest
    if not whole_low:
        rows += [[(first, first), *row] for row in _between(low[1:], "9" * rest)]
    start = first if whole_low else chr(ord(first) + 1)
    end = last if whole_high else chr(ord(last) - 1)
    if start <= end:
        rows.append([(start, end), *[("0", "9")] * rest])
    if not whole_high:
        rows += [[(last, last), *row] for row in _between("0" * rest, high[1:])]
    return rows


def _spelled(classes: list[tuple[str, str]], decimals: int) -> str:
    """Write a row of digit classes, equal neighbours as one with its count."""
    point = len(classes) - decimals
    halves = [_run(classes[:point]), *([_run(classes[point:])] if decimals else [])]
    return ' "." '.join(halves)


def _run(classes: list[tuple[str, str]]) -> str:
    pieces: list[tuple[tuple[str, str], int]] = []
    for one in classes:
        if pieces and pieces[-1][0] == one:
            pieces[-1] = (one, pieces[-1][1] + 1)
        else:
            pieces.append((one, 1))
    return " ".join(
        (f'"{low}"' if low == high else f"[{low}-{high}]") + (f"{{{count}}}" if count > 1 else "")
        for (low, high), count in pieces
    )
