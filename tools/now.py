"""``now``: the clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import ToolError
from .spec import tool


@tool(seconds=0.001)
def now(timezone: str = "UTC") -> str:
    """Return the current date and time as ISO text, e.g. 2024-01-31T09:30:00+00:00.

    Args:
        timezone: IANA name, e.g. "Europe/Paris".
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"there is no time zone {timezone!r}; use an IANA name such as 'Europe/Paris'.") from None
    return datetime.now(zone).isoformat(timespec="seconds")
