"""The program on its command line."""

import os
from pathlib import Path
from typing import Final

import pytest

from toolset import cli

SERVICE: Final = """
kind: Service
metadata: {name: prometheus, namespace: monitoring}
spec: {clusterIP: 10.0.0.1, selector: {app: prometheus}, ports: [{port: 9090}]}
"""


def alone(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Keep the settings of the machine out, and how busy it is; return a file with one Service."""
    for name in [*os.environ]:
        if name.startswith(("TOOLSET_", "KUBE", "OTEL_")):
            patch.delenv(name)
    patch.setenv("KUBECONFIG", str(folder / "no-kubeconfig"))
    patch.setattr(cli, "PATIENCE_S", 3600.0)  # no wait is announced, however long a busy machine takes
    file = folder / "services.yaml"
    file.write_text(SERVICE, "utf-8")
    return str(file)


def one_sentence(stderr: str) -> bool:
    """Return whether that is all that a user was told."""
    return stderr.startswith("toolset") and stderr.count("\n") == 1 and "Traceback" not in stderr
