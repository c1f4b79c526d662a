"""What tests of the suite share with pytest."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """As in a worker: small operations on several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
