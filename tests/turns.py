"""What is exhaustive and slow takes turns: each day a part runs, all of it within some days."""

import datetime
import os
from collections.abc import Iterable

DAY = int(os.environ.get("GPTQ_FUZZ_SHARD") or datetime.date.today().toordinal())


def todays(items: Iterable, days: int) -> list:
    """Every `days`-th of them, from another one on each day; GPTQ_FUZZ_SHARD stands for a day."""
    return list(items)[DAY % days :: days]
