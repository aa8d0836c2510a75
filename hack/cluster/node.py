"""The parts of a node, started in the namespaces that ``node`` made: control plane, containerd, kubelet, kube-proxy.

Ends when one of them ends. Their state and their logs are in one directory.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import httpx

from controlplane import Child, ControlPlane

CONFIGURATION = Path(__file__).resolve().parent / "configuration"
NODE = "node"
DNS = "10.96.0.10"
PODS = "10.244.0.0/24"


class Node:
    """A node with a control plane of its own.

    Args:
        binaries: The folder that has all parts of Kubernetes.
        directory: Where state, logs and the admin's kubeconfig go.
        address: The node's, where its API server listens too.
        cgroup: Below which the cgroups of pods are made.
    """

    def __init__(self, binaries: Path, directory: Path, address: str, cgroup: str) -> None:
        self._binaries = binaries
        self._directory = directory
        self._address = address
        self._plane = ControlPlane(binaries, directory, address)
        caller = self._plane.certificate("kube-apiserver-kubelet-client", group="system:masters")
        self._plane.certificate("kubelet", address)
        self._plane.flags += [
            "--authorization-mode=Node",  # in addition to RBAC
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self._plane.ca_file}",
            f"--kubelet-client-certificate={caller}",
            f"--kubelet-client-key={caller}",
        ]
        names = {"directory": str(directory), "cgroup": cgroup, "dns": DNS, "pods": PODS}
        (directory / "cni").mkdir()
        for template in CONFIGURATION.iterdir():
            folder = directory / "cni" if template.suffix == ".conflist" else directory
            (folder / template.name).write_text(Template(template.read_text("utf-8")).substitute(names), "utf-8")

    def start(self) -> None:
        """Start all parts, and return when the API server is ready and the kubelet is well.

        Raises:
            RuntimeError: One of them does not come up; the message has the end of its log.
        """
        manager = self._plane.component_kubeconfig("system:kube-controller-manager")
        scheduler = self._plane.component_kubeconfig("system:kube-scheduler")
        proxy = self._plane.component_kubeconfig("system:kube-proxy")
        node = self._plane.component_kubeconfig(f"system:node:{NODE}", "system:nodes")
        with ThreadPoolExecutor() as pool:
            plane = pool.submit(self._plane.start)
            self._child("containerd", f"--config={self._path('containerd.toml')}")
            plane.result()
        self._child(
            "kube-controller-manager",
            f"--kubeconfig={manager}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._plane.service_account_key}",
            f"--root-ca-file={self._plane.ca_file}",
            f"--flex-volume-plugin-dir={self._path('volume-plugins')}",
        )
        self._child("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false")
        self._child(
            "kube-proxy",
            f"--kubeconfig={proxy}",
            f"--hostname-override={NODE}",
            f"--cluster-cidr={PODS}",
            "--conntrack-max-per-core=0",  # as is what follows, the machine's: left alone
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )
        kubelet = self._child(
            "kubelet",
            f"--kubeconfig={node}",
            f"--config={self._path('kubelet.yaml')}",
            f"--root-dir={self._path('kubelet')}",
            f"--hostname-override={NODE}",
            f"--node-ip={self._address}",
        )
        with httpx.Client(base_url="http://127.0.0.1:10248", trust_env=False) as client:
            kubelet.wait_for(client, "/healthz")

    def _child(self, name: str, *flags: str) -> Child:
        own = self._binaries / name
        return Child([str(own) if own.exists() else name, *flags], self._path(f"{name}.log"))

    def _path(self, name: str) -> Path:
        return self._directory / name


def main() -> None:
    """Run a node until one of its parts ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("binaries", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("address")
    parser.add_argument("cgroup")
    given = parser.parse_args()
    Node(given.binaries, given.directory, given.address, given.cgroup).start()
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


if __name__ == "__main__":
    main()
