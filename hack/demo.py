"""Show the service at work: a real API server on loopback, sample Services, sample backends, one ConfigMap.

Exit status 0 when the ConfigMap followed every change.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent / "controlplane"))

import controlplane

TARGET: Final = ("-n", "kubernaut-system", "configmap", "kubernaut-toolset-config")
SERVICE: Final = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: monitoring, labels: {{app.kubernetes.io/name: {label}}}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: {port_name}, port: {port}}}]}}
---
"""
SAMPLES: Final = (
    ("prometheus-server", "prometheus", "http", 80),
    ("grafana", "grafana", "service", 3000),
    ("alertmanager", "alertmanager", "http", 9093),
    ("shop", "shop", "http", 8080),
)
LATER: Final = ("jaeger-query", "jaeger", "query", 16686)


class Healthy(BaseHTTPRequestHandler):
    """A backend that is well."""

    def do_GET(self) -> None:
        """Answer that all is well."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
        """Stay silent."""


def say(text: str) -> None:
    """Print one step."""
    print(f"\n\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def documents(plane: controlplane.ControlPlane) -> list[str]:
    """Return the keys of the published ConfigMap."""
    template = "go-template={{range $key, $_ := .data}}{{$key}} {{end}}"
    try:
        return plane.kubectl("get", *TARGET, "-o", template).split()
    except RuntimeError:
        return []


def wait(plane: controlplane.ControlPlane, wanted: Callable[[list[str]], bool]) -> None:
    """Wait until the ConfigMap is as wanted; show it, and the time that took."""
    started = time.monotonic()
    while not wanted(found := documents(plane)):
        if time.monotonic() - started > 30:
            sys.exit(f"demo: the ConfigMap did not follow within 30 s; it holds {found}")
        time.sleep(0.05)  # noqa: TID251 - a script outside the event loop
    print(f"   ConfigMap holds, after {time.monotonic() - started:.2f} s: {', '.join(found)}", flush=True)


def tour(plane: controlplane.ControlPlane, toolset: Path, environment: dict[str, str]) -> None:
    """Run the service and change the cluster under it."""
    say("1. A cluster with four Services; what would be published, and why (toolset plan):")
    plan = subprocess.run([toolset, "plan"], env=environment, check=False)
    if plan.returncode != 2:
        sys.exit("demo: toolset plan should have found something to change")
    say("2. The service starts (toolset run)")
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen([toolset, "run"], env=environment, stderr=log) as service,
    ):
        try:
            wait(plane, lambda keys: "grafana-toolset.yaml" in keys)
            say("3. A Jaeger appears")
            plane.kubectl("apply", "-f", "-", given=_manifest(*LATER))
            wait(plane, lambda keys: "jaeger-toolset.yaml" in keys)
            say("4. Grafana is uninstalled")
            plane.kubectl("delete", "service", "grafana", "-n", "monitoring")
            wait(plane, lambda keys: "grafana-toolset.yaml" not in keys)
            say("5. Somebody deletes the ConfigMap")
            plane.kubectl("delete", *TARGET)
            wait(plane, lambda keys: "jaeger-toolset.yaml" in keys)
        finally:
            service.terminate()
    say("6. The service has stopped; the published ConfigMap:")
    print(plane.kubectl("get", *TARGET, "-o", "yaml"))


def main() -> None:
    """Run the demo."""
    assets = controlplane.assets()
    if assets is None:
        sys.exit(
            "demo: it needs a kube-apiserver and etcd, which are not built yet: run `make control-plane-build` "
            "(needs Go 1.26, about 6 minutes, once), or set KUBEBUILDER_ASSETS to a folder that has them"
        )
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    hosts = {
        f"{name}.monitoring.svc.cluster.local:{port}": f"127.0.0.1:{backend.server_port}"
        for name, _, _, port in (*SAMPLES, LATER)
    }
    print("Starting a real kube-apiserver and etcd on loopback ...", flush=True)
    with tempfile.TemporaryDirectory() as folder, controlplane.ControlPlane(assets, Path(folder)) as plane:
        plane.apply_base()
        plane.kubectl("create", "namespace", "monitoring")
        plane.kubectl("apply", "-f", "-", given="".join(_manifest(*sample) for sample in SAMPLES))
        environment = {
            **os.environ,
            "KUBECONFIG": str(plane.service_account_kubeconfig("kubernaut-system", "kubernaut-dynamic-toolset")),
            "TOOLSET_HEALTH__CONNECT_TO": str(hosts),
            "TOOLSET_SERVER__PORT": "0",
            "TOOLSET_SHUTDOWN__DELAY": "0s",
        }
        tour(plane, Path(sys.executable).with_name("toolset"), environment)
    backend.shutdown()
    backend.server_close()


def _manifest(name: str, label: str, port_name: str, port: int) -> str:
    return SERVICE.format(name=name, label=label, port_name=port_name, port=port)


if __name__ == "__main__":
    main()
