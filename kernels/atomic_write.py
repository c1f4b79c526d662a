"""Files that are whole or not there, whatever happens to the process that writes them."""

import contextlib
import os
import uuid


@contextlib.contextmanager
def replacing(path):
    """A path beside `path` to write a file to; without an error, it takes the place of `path`.

    Whoever comes last wins. What fails leaves `path` as it was and nothing beside it.
    """
    # Not by `tempfile`, whose files no other user of a shared folder may read.
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
