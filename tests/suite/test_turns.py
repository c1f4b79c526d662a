"""What takes turns is all of it there, each part on a day of its own."""

import pytest

from tests import turns


@pytest.mark.parametrize("days", [1, 2, 3, 7])
def test_each_item_has_one_day(days, monkeypatch):
    items, seen = range(20), []
    for day in range(100, 100 + days):
        monkeypatch.setattr(turns, "DAY", day)
        seen += turns.todays(items, days)
    assert sorted(seen) == list(items)
