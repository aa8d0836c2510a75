"""A cluster with the image deployed, seen and changed through kubectl, so that any kubeconfig will do."""

import json
import os
import subprocess
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, Final

from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Tool, urls_in
from support.waiting import eventually

TARGET: Final = "configmap/kubernaut-toolset-config"
DEPLOYMENT: Final = f"deployment/{SERVICE_ACCOUNT}"
PODS: Final = ("pods", "-l", f"app.kubernetes.io/name={SERVICE_ACCOUNT}")
PROMETHEUS: Final = os.getenv("TOOLSET_E2E_PROMETHEUS_IMAGE") or "prometheus:debian"
GONE_S: Final = 40.0
"""What stopped answering is gone within this time: one interval of probes (10 s), and two that follow sooner."""
BACK_S: Final = 40.0
"""The same for what is to be found again."""

Object = dict[str, Any]


class Cluster:
    """What an admin does, mostly in the service's namespace."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig

    @property
    def kubeconfig(self) -> str:
        """The path of the admin's kubeconfig."""
        return self._kubeconfig

    def command(self, *arguments: str, namespace: str = NAMESPACE) -> list[str]:
        """Return the command line of kubectl."""
        return ["kubectl", f"--kubeconfig={self._kubeconfig}", f"--namespace={namespace}", *arguments]

    def kubectl(self, *arguments: str, namespace: str = NAMESPACE, given: str = "") -> str:
        """Return what kubectl prints; AssertionError with its own words when it fails."""
        command = self.command(*arguments, namespace=namespace)
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *what: str, namespace: str = NAMESPACE) -> Object:
        found: Object = json.loads(self.kubectl("get", *what, "-o", "json", namespace=namespace))
        return found

    def apply(self, *things: Object, namespace: str) -> None:
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": things})
        self.kubectl("apply", "--server-side", "-f", "-", given=given, namespace=namespace)

    def create(self, tool: Tool) -> None:
        """Create the Service in front of the backend ``tool.backend`` of its namespace."""
        spec = {
            "selector": {"backend": tool.backend},
            "ports": [{"name": tool.port_name, "port": tool.port, "targetPort": 9090}],
        }
        thing = {"apiVersion": "v1", "kind": "Service", **tool.manifest(), "spec": spec}
        self.apply(thing, namespace=tool.namespace)

    def annotate(self, tool: Tool, annotation: str) -> None:
        """Set ``name=value`` with our prefix, or remove ``name-``."""
        change = f"kubernaut.io/{annotation}"
        self.kubectl("annotate", "--overwrite", f"service/{tool.name}", change, namespace=tool.namespace)

    def delete(self, tool: Tool) -> None:
        self.kubectl("delete", f"service/{tool.name}", namespace=tool.namespace)

    def patch(self, what: str, change: Mapping[str, object]) -> None:
        self.kubectl("patch", what, "--type=merge", f"--patch={json.dumps(change)}")

    def scale(self, deployment: str, replicas: int, namespace: str = NAMESPACE) -> None:
        """Return when so many replicas are ready and no other is there."""
        self.kubectl("scale", deployment, f"--replicas={replicas}", namespace=namespace)
        self.kubectl("rollout", "status", deployment, "--timeout=60s", namespace=namespace)

    def data(self) -> dict[str, str]:
        """Return the data of the ConfigMap; nothing when there is none."""
        found = self.kubectl("get", TARGET, "--ignore-not-found", "-o", "json")
        data: dict[str, str] = json.loads(found).get("data", {}) if found else {}
        return data

    def urls(self, namespace: str) -> list[str]:
        """Return the URLs in the ConfigMap whose hosts are Services of ``namespace``, in the order of their keys."""
        return [url for _, url in sorted(urls_in(self.data()).items()) if f".{namespace}.svc." in url]

    def pods(self) -> list[str]:
        """Return the names of the service's pods that are not being deleted."""
        items = self.get(*PODS)["items"]
        return [each["metadata"]["name"] for each in items if "deletionTimestamp" not in each["metadata"]]

    def leader(self) -> str:
        """Return the name of the pod that holds the Lease."""
        holder: str = self.get(f"lease/{SERVICE_ACCOUNT}")["spec"].get("holderIdentity") or ""
        return holder.rsplit("_", 1)[0]

    def bugs(self) -> list[str]:
        """Return the log lines that a service without bugs does not write, from each pod that stays."""
        lines = [line for name in self.pods() for line in self.kubectl("logs", f"pod/{name}").splitlines()]
        return [line for line in lines if "stacktrace" in line or "py.warnings" in line or "Traceback" in line]

    @contextmanager
    def versions(self) -> Generator[list[dict[str, str]]]:
        """Yield a list that has, after the block, the data of each version that the ConfigMap had meanwhile."""
        seen: list[dict[str, str]] = []
        with TemporaryFile("w+") as out:
            command = self.command("get", TARGET, "--watch", "-o", "json")
            with subprocess.Popen(command, stdout=out) as watch:
                try:
                    eventually(lambda: out.seek(0, 2) or out.tell(), within_s=10)
                    yield seen
                finally:
                    watch.terminate()
            out.seek(0)
            seen.extend(thing["data"] for thing in _documents(out.read()))


def _documents(text: str) -> Iterator[Object]:
    """Yield the JSON documents that follow each other in ``text``."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        thing, end = decoder.raw_decode(text)
        yield thing
        text = text[end:]


def prometheus(name: str) -> Object:
    """Return the manifest of a real Prometheus that has nothing to scrape."""
    labels = {"backend": name}
    container: Object = {
        "name": "prometheus",
        "image": PROMETHEUS,
        "args": ["--config.file=/dev/null", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod: Object = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
