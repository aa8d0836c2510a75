"""A file that cannot be read to its end, as on a mount whose server is gone."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hanging(file: Path) -> Generator[None]:
    """Let every read of ``file`` hang inside the block; after it there is no such file, and no thread that reads it."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    try:
        yield
    finally:
        end = os.open(file, os.O_RDWR)  # nobody waits for a writer any more
        file.unlink()
        os.close(end)
