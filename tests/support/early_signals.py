"""Start the service repeatedly, and send each a signal a little later: also while it imports its modules.

``python -m support.early_signals 500`` (in ``tests``) counts how 500 starts end.
"""

import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio

from support.kubeconfigs import kubeconfig

LATEST_S = 0.5


async def endings(count: int, signum: signal.Signals, command: str) -> Counter[tuple[int, str]]:
    """Return how often ``toolset COMMAND`` ended how: its return code, and the last line of a traceback, if any.

    Args:
        count: How many are started, one after the other.
        signum: What each is sent, the first at once, the last after LATEST_S.
        command: ``run`` or another.
    """
    found: Counter[tuple[int, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = kubeconfig(Path(folder), "http://127.0.0.1:9", None)
        quick = {"TOOLSET_SERVER__PORT": "0", "TOOLSET_SHUTDOWN__DELAY": "0s", "KUBECONFIG": file}
        for number in range(count):
            async with await anyio.open_process(
                ["env", "--default-signal", sys.executable, "-m", "toolset", command],
                env={**os.environ, **quick},
                stdout=DEVNULL,
                stderr=PIPE,
            ) as process:
                await anyio.sleep(LATEST_S * number / count)
                process.send_signal(signum)
                said = b"".join([chunk async for chunk in process.stderr]) if process.stderr else b""
                last = said.decode().splitlines()[-1] if b"Traceback" in said else ""
                found[await process.wait(), last] += 1
    return found


if __name__ == "__main__":
    print(anyio.run(endings, int(sys.argv[1]), signal.SIGTERM, "run"))  # noqa: T201 - a script
