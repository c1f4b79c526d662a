"""Campaigns on a cluster of this machine, and the store; skipped without the extra `campaign`."""

import pytest

pytest.importorskip("distributed", reason="no_distributed")
