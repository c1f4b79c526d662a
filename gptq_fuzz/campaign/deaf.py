"""Loaded by Dask into each worker of a cluster of ours, which does not hear Ctrl-C: that is the
client's, which waits for what is being judged, and ends the workers.
"""

import signal


def dask_setup(_worker) -> None:
    """Called by Dask in the worker's main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
