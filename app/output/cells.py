"""Values → the cells and rows of CSV tables (RFC 4180). An empty cell is an absent value."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Some spreadsheets take the wide forms of East Asian keyboards for the same.
_STARTS_OF_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
DECIMALS = 6  # a microsecond, a nanometre: finer than any scanner, and no binary noise


def table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a header and rows of values."""
    return write([header, *([cell(value) for value in row] for row in rows)])


def write(rows: Iterable[Iterable[str]]) -> str:
    """Write rows of finished cells."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def cell(value: object) -> str:
    """Write a value as a cell: None and NaN empty, a number with at most six decimals."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return _number(float(value))
    return defused(str(value))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    rounded = round(value, DECIMALS) + 0.0  # which makes -0.0 a plain zero
    return f"{rounded:.{DECIMALS}f}".rstrip("0").rstrip(".")


def cells(values: NDArray[np.floating[Any]]) -> list[str]:
    """Write a long array of numbers, with all decimals; NaN becomes an empty cell."""
    cells = list(map(f"%.{DECIMALS}f".__mod__, values.tolist()))
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        cells[index] = ""
    return cells


def defused(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula (OWASP, CSV injection)."""
    starts_formula = text.lstrip().startswith(_STARTS_OF_FORMULAS)
    return f"'{text}" if starts_formula or text.startswith(("\t", "\r", "\n")) else text
