import os
import signal
import sys
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest

from support.early_signals import endings
from support.kubeconfigs import kubeconfig, plugin

STARTS = 500 if os.getenv("CI_FULL") == "1" else 16


@pytest.mark.alone
@pytest.mark.timeout(60 + 3 * STARTS)
async def test_sigterm_while_modules_are_imported_ends_the_service_cleanly() -> None:
    """An exception in the midst of an import of a library in C ended in a segmentation fault, 3 times in 45."""
    ends = await endings(STARTS, signal.SIGTERM, "run")

    assert sum(ends.values()) == STARTS
    before_the_handler, early, after_all_was_stopped = -signal.SIGTERM, 128 + signal.SIGTERM, 0
    assert set(ends) <= {(code, "") for code in (before_the_handler, early, after_all_was_stopped)}
    assert ends[early, ""] > 0


HANGING_PLUGIN = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1] + ".new").write_text(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
@pytest.mark.parametrize("command", ["run", "plan"])
async def test_a_signal_while_an_exec_plugin_runs_ends_that_too(
    tmp_path: Path, command: str, signum: signal.Signals
) -> None:
    file = kubeconfig(tmp_path, "https://127.0.0.1:1", plugin(tmp_path, HANGING_PLUGIN))
    started = tmp_path / "runs"
    command_line = ["env", "--default-signal", sys.executable, "-m", "toolset", command, "--kubeconfig", file]
    with anyio.fail_after(15):
        async with await anyio.open_process(command_line, stdout=DEVNULL, stderr=DEVNULL) as process:
            while not await anyio.Path(started).exists():  # noqa: ASYNC110 - it is another process that makes it
                await anyio.sleep(0.01)
            process.send_signal(signum)
            assert await process.wait() == 128 + signum

    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text("utf-8")), 0)
