"""The image in its pod: without rights, on files that it cannot write, and with nothing to install more with."""

import json

import pytest

from e2e.cluster import DEPLOYMENT, Cluster
from integration.cluster import SERVICE_ACCOUNT as NAME
from toolset import __version__

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

LOOK = """
import importlib.util, json, os, pathlib, shutil

def writable(folder):
    try:
        pathlib.Path(folder, "tried").write_text("")
    except OSError:
        return False
    return True

status = dict(line.split(":", 1) for line in pathlib.Path("/proc/1/status").read_text("utf-8").splitlines())
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no new privileges": int(status["NoNewPrivs"]),
    "seccomp": int(status["Seccomp"]),
    "writable": [folder for folder in ("/", "/opt/toolset", "/etc/toolset", "/tmp") if writable(folder)],
    "installers": [name for name in ("pip", "ensurepip") if importlib.util.find_spec(name)]
    + [name for name in ("pip", "pip3", "apt-get", "gcc", "cc", "make", "uv") if shutil.which(name)],
    "links": [name for name in os.environ if name.endswith("_SERVICE_HOST")],
}))
"""


def test_a_pod_may_do_nothing_and_has_nothing_to_do_it_with(cluster: Cluster) -> None:
    seen = json.loads(cluster.kubectl("exec", DEPLOYMENT, "--", "python", "-c", LOOK))
    assert seen == {
        "uid": 65532,
        "capabilities": 0,
        "no new privileges": 1,
        "seccomp": 2,
        "writable": ["/tmp"],  # noqa: S108  # its own emptyDir
        "installers": [],
        "links": ["KUBERNETES_SERVICE_HOST"],
    }


PACKAGES = """
import importlib.metadata, json
print(json.dumps({each.name: each.version for each in importlib.metadata.distributions()}))
"""

DPKG = "--showformat=${Package} ${Version}\\n"


def test_the_list_of_packages_in_the_image_is_that_of_what_is_in_it(cluster: Cluster) -> None:
    def inside(*command: str) -> str:
        return cluster.kubectl("exec", DEPLOYMENT, "--", *command)

    listed = json.loads(inside("cat", "/opt/toolset/sbom.cdx.json"))
    assert listed["metadata"]["component"]["name"] == NAME
    found = {each["name"]: each["version"] for each in listed["components"]}
    python = json.loads(inside("python", "-c", PACKAGES))
    debian = dict(line.split() for line in inside("dpkg-query", "--show", DPKG).splitlines())
    assert python.pop(NAME) == __version__
    assert found == python | debian


def test_the_commands_of_the_image_work_in_the_pod(cluster: Cluster) -> None:
    assert __version__ in cluster.kubectl("exec", DEPLOYMENT, "--", "toolset", "version")
    cluster.kubectl("exec", DEPLOYMENT, "--", "toolset", "check-config", "/etc/toolset/settings.yaml")
    planned = cluster.kubectl("exec", DEPLOYMENT, "--", "toolset", "plan", "--config", "/etc/toolset/settings.yaml")
    assert "is up to date" in planned  # else the exit code is 2
    said = cluster.kubectl("exec", DEPLOYMENT, "--", "toolset", "doctor", "--config", "/etc/toolset/settings.yaml")
    assert said.endswith(" checks, no problem\n")


def test_the_image_has_no_package_for_kubeconfigs(cluster: Cluster) -> None:
    packages = json.loads(cluster.kubectl("exec", DEPLOYMENT, "--", "python", "-c", PACKAGES))
    assert {"aiohttp", "httpx"} <= packages.keys()
    assert "kubernetes" not in packages
