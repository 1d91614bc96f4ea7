"""Market tables in Parquet and Feather, read with the optional pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.header import choose_columns
from data_tools.market_layout import Layout, Stamps
from data_tools.market_text import printable
from data_tools.stamps import BadStampError
from gym_trade import MarketDataError
from gym_trade.validation import PRICES, TIME_COLUMNS

ARROW_SUFFIXES = (".parquet", ".feather")
_UNNAMED_INDEX = "__index_level_0__"  # pandas' name for an index without one
_FREQTRADE = ("date", *PRICES, "volume")


def require_pyarrow(what: str) -> None:
    """Refuse work that needs pyarrow where it is not installed.

    Raises:
        MarketDataError: It is not; the message names the extra.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MarketDataError(
            f"{what} needs pyarrow, which is not installed. Install the extra: "
            "python -m pip install 'gym-trade[parquet]'."
        ) from None


def read_arrow(file: Path) -> tuple[pd.DataFrame, Layout, str, str]:
    """Read a Parquet or Feather file.

    Returns:
        The frame as `load.load` returns it, its layout, words for the spelling of its times, and
        what else there is to say.

    Raises:
        MarketDataError: pyarrow is not installed, or the file is damaged or no market table.
    """
    require_pyarrow(str(file))
    kind = "Parquet" if file.name.lower().endswith(".parquet") else "Feather"
    try:
        table = _parquet(file) if kind == "Parquet" else _feather(file)
        header = [printable(name) for name in table.column_names]
    except MarketDataError:
        raise
    except Exception as error:  # a damaged file raises whatever pyarrow's readers come across
        reason = " ".join(str(error).split())[:200]
        raise MarketDataError(
            f"{file} is not a sound {kind} file ({reason}). Fetch or write it again."
        ) from None
    layout = _layout(file, kind, header, table.schema)
    if not table.num_rows:
        raise MarketDataError(f"{file} has no rows. Expected at least one bar.")
    name = layout.header[layout.time]
    try:
        stamps, spelling = _times(table.column(layout.time), layout)
    except BadStampError as error:
        raise MarketDataError(f"{file} row {error.row}: {name} is {error}") from None
    columns = {
        plain: _numbers(file, layout.header[position], table.column(position))
        for position, plain in layout.values.items()
    }
    index = pd.DatetimeIndex(stamps, name="timestamp")
    narrow = [name for p, name in layout.values.items() if table.schema.types[p] == "float"]
    note = f"float32 in the file: {', '.join(narrow)}" if narrow else ""
    return pd.DataFrame(columns, index=index), layout, spelling, note


def _parquet(file: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file, page_checksum_verification=True, partitioning=None)


def _feather(file: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(file)) as stream:
        if stream.read(4) == b"FEA1":
            raise MarketDataError(
                f"{file} is a Feather file of version 1. Write it again as version 2."
            )
        stream.seek(0)
        table = pa.ipc.open_file(stream).read_all()
    table.validate(full=True)
    return table


def _layout(file: Path, kind: str, header: list[str], schema: Any) -> Layout:
    if _UNNAMED_INDEX in header and not any(name.lower() in TIME_COLUMNS for name in header):
        import pyarrow as pa

        position = header.index(_UNNAMED_INDEX)
        if pa.types.is_timestamp(schema.types[position]):
            header[position] = "timestamp"
    family = f"{kind} table"
    if kind == "Feather" and tuple(header) == _FREQTRADE:
        family = "freqtrade feather"
    return choose_columns(str(file), header, family)


def _numbers(file: Path, name: str, column: Any) -> np.ndarray[Any, Any]:
    """A column as float64, each number to the nearest; a missing one is NaN."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.combine_chunks().dictionary_decode()
        kind = column.type
    if pa.types.is_decimal(kind):  # exactly rounded, which Arrow's own cast does not promise
        numbers = [np.nan if cell is None else float(cell) for cell in column.to_pylist()]
        return np.array(numbers, dtype=np.float64)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise MarketDataError(
            f"{file}: column {name} holds {kind}. Expected numbers; convert the column, for "
            "example with pandas.to_numeric."
        )
    return np.array(column.to_numpy(), dtype=np.float64)


def _times(column: Any, layout: Layout) -> Stamps:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.combine_chunks().dictionary_decode()
        kind = column.type
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise BadStampError(row, "missing. Expected a time in every row; drop or fix that row.")
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("ms")), pa.timestamp("ms")
    if pa.types.is_timestamp(kind):
        counts = column.cast(pa.int64()).to_numpy()
        per_unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[kind.unit]
        beyond = np.abs(counts // 2) > (2**62 - 1) // per_unit
        if beyond.any():
            row = int(beyond.argmax())
            raise BadStampError(row, f"{counts[row]} {kind.unit}, beyond the years 1678 to 2261.")
        zone = f" in {kind.tz}" if kind.tz else ""
        return (counts * per_unit).astype("datetime64[ns]"), f"{kind.unit} stamps{zone}"
    if pa.types.is_integer(kind):
        return layout.read_times(pd.Series(column.cast(pa.int64()).to_numpy()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return layout.read_times(pd.Series(column.to_pylist(), dtype=str))
    raise BadStampError(0, f"of type {kind}. Expected times, integers or ISO 8601 text.")
