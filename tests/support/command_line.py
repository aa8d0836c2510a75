"""The program on its command line."""

from pathlib import Path
from typing import Final

import pytest

SERVICE: Final = """
kind: Service
metadata: {name: prometheus, namespace: monitoring}
spec: {clusterIP: 10.0.0.1, selector: {app: prometheus}, ports: [{port: 9090}]}
"""


ANNOUNCED: Final = "toolset: waiting for the API server and the backends ...\n"


def alone(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Let there be no cluster; return a file with one Service."""
    patch.setenv("KUBECONFIG", str(folder / "no-kubeconfig"))
    file = folder / "services.yaml"
    file.write_text(SERVICE, "utf-8")
    return str(file)


def complaints(stderr: str) -> str:
    """Return what a command complained about: without the announcement of a wait, which a busy machine may add."""
    return stderr.replace(ANNOUNCED, "", 1)


def one_sentence(stderr: str) -> bool:
    """Return whether that complains in one sentence."""
    stderr = complaints(stderr)
    return stderr.startswith("toolset") and stderr.count("\n") == 1 and "Traceback" not in stderr
