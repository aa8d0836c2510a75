"""Kubeconfigs, and exec plugins for them."""

import sys
from pathlib import Path

import yaml

EXEC_API = "client.authentication.k8s.io/v1"

COUNTING_PLUGIN = """
import json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text((runs.read_text("utf-8") if runs.exists() else "") + "x")
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": "run-" + str(len(runs.read_text("utf-8")))}}))
"""
"""Gives ``run-1``, then ``run-2`` and so on, and leaves one letter a run in the file ``runs``."""


def kubeconfig(folder: Path, url: str, user: dict[str, object] | None, cluster: dict[str, object] | None = None) -> str:
    """Write a kubeconfig with one context, ``here``; return its path."""
    context = {"cluster": "one"} | ({} if user is None else {"user": "me"})
    content: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": context}],
        "clusters": [{"name": "one", "cluster": {"server": url, **(cluster or {})}}],
    }
    if user is not None:
        content["users"] = [{"name": "me", "user": user}]
    file = folder / "config"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def plugin(folder: Path, program: str, **settings: object) -> dict[str, object]:
    """Write an exec plugin in Python; return a user who has it."""
    script = folder / "plugin.py"
    script.write_text(program)
    arguments = [str(script), str(folder / "runs")]
    command = {"command": sys.executable, "args": arguments}
    return {"exec": {"apiVersion": EXEC_API, "interactiveMode": "Never", **command, **settings}}
