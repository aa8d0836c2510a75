"""The limits of tests: they hold for the time in which the machine runs."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.waiting import eventually

TESTS = Path(__file__).parents[2]
WAITING = """
import time
from support.waiting import eventually
print("began", flush=True)
began_s = time.monotonic()
took_s = eventually(lambda: time.monotonic() - began_s > 1.3, within_s=0.8)
print(took_s)
"""


def test_what_never_holds_is_reported_at_the_limit() -> None:
    began_s = time.monotonic()
    with pytest.raises(AssertionError, match=r"still not so after 0\.1 s"):
        eventually(lambda: False, within_s=0.1)
    assert time.monotonic() - began_s > 0.1


def test_how_long_it_took_is_returned() -> None:
    began_s = time.monotonic()
    assert 0.1 < eventually(lambda: time.monotonic() - began_s > 0.1, within_s=10) <= time.monotonic() - began_s


def test_time_in_which_the_process_is_stopped_is_not_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], env={"PYTHONPATH": str(TESTS)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        threading.Event().wait(0.2)  # it waits now
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(0.9)
        process.send_signal(signal.SIGCONT)
        printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert float(printed) < 0.8
