"""What is exhaustive and slow takes turns: each day a part runs, all of it within some days.

GPTQ_FUZZ_SHARD is a number that stands for a day, or `all`.
"""

import datetime
import os
import zlib
from collections.abc import Iterable

ASKED = os.environ.get("GPTQ_FUZZ_SHARD", "")
ALL = ASKED == "all"
DAY = int(ASKED) if ASKED and not ALL else datetime.date.today().toordinal()


def todays(items: Iterable, days: int) -> list:
    """Every `days`-th of them, from another one on each day."""
    return list(items) if ALL else list(items)[DAY % days :: days]


def is_todays(name: str, days: int) -> bool:
    """Whether what has this name is due: once within so many days."""
    return ALL or (zlib.crc32(name.encode()) + DAY) % days == 0
