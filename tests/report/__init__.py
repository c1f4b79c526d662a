"""The page of HTML, and what GitHub shows; skipped where the extra `report` is not there."""

import pytest

pytest.importorskip("jinja2", reason="no_jinja2")
