"""Time frames: their spellings, their length in nanoseconds and their observation keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

NANOSECONDS = {
    "Second": 1_000_000_000,
    "Minute": 60_000_000_000,
    "Hour": 3_600_000_000_000,
    "Day": 86_400_000_000_000,
}
SHORT_NAMES = {"Second": "sec", "Minute": "min", "Hour": "hour", "Day": "day"}

_SPELLINGS = {
    "Second": ("s", "S", "sec", "secs", "second", "seconds"),
    # "m" is the exchanges' minute; a month ("M", "mo") has no fixed length and is refused.
    "Minute": ("m", "min", "mins", "minute", "minutes", "T"),
    "Hour": ("h", "H", "hr", "hrs", "hour", "hours"),
    "Day": ("d", "D", "day", "days"),
    "Week": ("w", "W", "week", "weeks"),
}
_UNIT_OF = {spelling: unit for unit, names in _SPELLINGS.items() for spelling in names}


@dataclass(frozen=True, order=True)
class TimeFrame:
    """A bar length.

    Two spellings of one length are one time frame: "60min" and "1hour" give the same observation
    key.

    Attributes:
        interval_ns: Length in nanoseconds, a positive whole number of seconds.
    """

    interval_ns: int

    @property
    def _parts(self) -> tuple[int, str]:
        for unit in ("Day", "Hour", "Minute"):
            if self.interval_ns % NANOSECONDS[unit] == 0:
                return self.interval_ns // NANOSECONDS[unit], unit
        return self.interval_ns // NANOSECONDS["Second"], "Second"

    @property
    def name(self) -> str:
        """The canonical spelling, such as ``"5min"`` or ``"1hour"``."""
        count, unit = self._parts
        return f"{count}{SHORT_NAMES[unit]}"

    @property
    def key(self) -> str:
        """The key of this frame's window in an observation, such as ``market_data_5Minute``."""
        count, unit = self._parts
        return f"market_data_{count}{unit}"

    def __str__(self) -> str:
        return self.name


def _refuse(value: object, argument: str) -> ValueError:
    return ValueError(
        f"{argument}={value!r} is not a time frame. Expected a whole number and a unit, such as "
        '"30sec", "5min", "1hour", "1day" or (5, "Minute"); months have no fixed length.'
    )


def _from_parts(count: object, unit: object, value: object, argument: str) -> TimeFrame:
    spelling = unit if unit in _UNIT_OF else str(unit).lower() if len(str(unit)) > 1 else unit
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise _refuse(value, argument)
    if spelling not in _UNIT_OF:
        raise _refuse(value, argument)
    name = _UNIT_OF[str(spelling)]
    unit_ns = 7 * NANOSECONDS["Day"] if name == "Week" else NANOSECONDS[name]
    if int(count) * unit_ns >= 2**62:  # must fit int64 beside a time stamp
        raise _refuse(value, argument)
    return TimeFrame(int(count) * unit_ns)


def parse_time_frame(value: object, argument: str = "time_frames") -> TimeFrame:
    """Read a time frame in any accepted spelling.

    Args:
        value: A string ("5min", "1h", "1day"), a pair ``(5, "Minute")``, a timedelta or a
            `TimeFrame`.
        argument: The argument's name, for the error message.

    Returns:
        The canonical time frame.

    Raises:
        ValueError: The value cannot be read as a positive, whole number of seconds.
    """
    if isinstance(value, TimeFrame):
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d*)\s*([A-Za-z]+)\s*", value)
        if match is None:
            raise _refuse(value, argument)
        return _from_parts(int(match[1] or 1), match[2], value, argument)
    if isinstance(value, tuple | list) and len(value) == 2:
        return _from_parts(value[0], value[1], value, argument)
    try:
        nanoseconds = int(np.timedelta64(value, "ns").astype(np.int64))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise _refuse(value, argument) from None
    if nanoseconds <= 0 or nanoseconds % NANOSECONDS["Second"] or isinstance(value, int | float):
        raise _refuse(value, argument)
    return TimeFrame(nanoseconds)
