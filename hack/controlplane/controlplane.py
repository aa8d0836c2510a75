"""A real control plane on loopback: etcd and kube-apiserver, with TLS, RBAC and an audit log.

There is no controller manager, no scheduler and no node: a deleted namespace stays in
``Terminating``, and no ``kube-root-ca.crt`` and no Endpoints appear. The Service
``default/kubernetes`` is always there, made by the API server.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import trustme
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

HERE = Path(__file__).resolve().parent
BASE = HERE.parents[1] / "deploy" / "kustomize" / "base"
BASE_KINDS = frozenset(("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"))
LOOPBACK = "127.0.0.1"
SERVICE_CIDR = "10.96.0.0/12"  # 1,048,574 addresses
KUBERNETES = ("kubernetes.default.svc", "10.96.0.1")  # the API server as pods know it
START_TIMEOUT_S = 60.0
BODIES = {"level": "RequestResponse", "resources": [{"group": "", "resources": ["configmaps"]}]}
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
AUDIT_POLICY = AUDIT | {"rules": [BODIES, {"level": "Metadata"}]}


class Child:
    """A child process that cannot outlive this one.

    A shell waits on a pipe that only this process holds open: it kills the child when the pipe
    closes, even after a SIGKILL of this process. ``PR_SET_PDEATHSIG`` would be shorter, but it
    fires when the starting *thread* ends, and a worker thread may well start an API server.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        null, pipe, merge = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=null, stdout=out, stderr=merge, env=environment, start_new_session=True
            )
        guard = ["/bin/sh", "-c", 'read -r _; kill -KILL "$0"', str(self._process.pid)]
        self._guard = subprocess.Popen(guard, stdin=pipe, stderr=null, start_new_session=True)

    def wait_for(self, client: httpx.Client, path: str) -> None:
        """Return when a GET of a path answers 200.

        Raises:
            RuntimeError: When the process ended, or START_TIMEOUT_S went by. The message has the
                last lines of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(path, timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"no answer from {path}; the end of {self._log}:\n{tail}")

    def end(self, signum: signal.Signals) -> None:
        """Send a signal, reap the process; one that takes longer than 10 s is killed."""
        self._guard.kill()  # before the child is reaped and its pid can be another's
        self._guard.communicate()
        self._process.send_signal(signum)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ControlPlane:
    """One etcd and one API server, whose state is in one directory.

    The ports, the certificates and the admin's token last as long as the object: a restart of
    either process keeps them. Another object on the same directory finds the same Kubernetes
    objects, behind another port and other credentials. A client that is used while the API server
    is killed must expect refused connections.

    Attributes:
        url: Where the API server listens.
        ca_file: The authority, in PEM, that signed its certificate.
        admin_token: A bearer token of the group system:masters.
        audit_log: Audit events, one JSON object a line.
        kubeconfig: What kubectl needs to be that admin.
        etcd_data: etcd's data directory; to copy only while etcd is stopped.
        etcd_url: Where etcd listens, without TLS.
        service_account_key: What signs the tokens of service accounts, in PEM.
        flags: Further ones for kube-apiserver, at first those of ``CONTROL_PLANE_FLAGS``; the last of a name counts.
    """

    def __init__(self, assets: Path, directory: Path, address: str = LOOPBACK) -> None:
        """Write certificates and configuration; start nothing.

        Args:
            assets: The folder that has etcd, kube-apiserver and kubectl.
            directory: Made when it is absent.
            address: Where the API server listens. One that is not loopback becomes the endpoint of
                the Service default/kubernetes, so that pods reach it.
        """
        self._assets = assets
        self._address = address
        self._directory = directory.resolve()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._etcd: Child | None = None
        self._apiserver: Child | None = None
        self._port = free_ports()
        self.etcd_url = f"http://{LOOPBACK}:{self._port + 1}"
        self.url = f"https://{address}:{self._port}"
        self.ca_file = self._directory / "ca.crt"
        self.admin_token = secrets.token_urlsafe(32)
        self.audit_log = self._directory / "audit.log"
        self.kubeconfig = self._directory / "admin.kubeconfig"
        self.etcd_data = self._directory / "etcd"
        self.service_account_key = self._directory / "service-accounts.key"
        self.flags = shlex.split(os.getenv("CONTROL_PLANE_FLAGS", ""))
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self._tls = self.certificate("tls", address, "localhost", *KUBERNETES)
        key = self._authority.issue_cert("service-accounts").private_key_pem
        key.write_to_path(str(self.service_account_key))
        (self._directory / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        self._users = [f'{self.admin_token},admin,admin,"system:masters"']
        self._write_kubeconfig(self.kubeconfig, self.admin_token)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start both and return when the API server is ready, in 2 to 8 s.

        Raises:
            RuntimeError: When one of them does not start; none is left running then.
        """
        try:
            self.start_etcd()
            self.start_apiserver()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what runs; etcd in good order, so that its data can be copied."""
        self.kill_apiserver()  # it has no state, and in good order it would wait for watches
        self._end_etcd(signal.SIGTERM)

    def start_etcd(self) -> None:
        """Start etcd, with the data it had; RuntimeError when it does not start."""
        command = [
            str(self._assets / "etcd"),
            f"--data-dir={self.etcd_data}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
        ]
        self._etcd = Child(command, self._directory / "etcd.log")
        with httpx.Client(base_url=self.etcd_url, trust_env=False) as client:
            self._etcd.wait_for(client, "/health")

    def kill_etcd(self) -> None:
        """End etcd with SIGKILL."""
        self._end_etcd(signal.SIGKILL)

    def _end_etcd(self, signum: signal.Signals) -> None:
        if self._etcd is not None:
            self._etcd.end(signum)
            self._etcd = None

    def start_apiserver(self) -> None:
        """Start the API server on its port; RuntimeError when it does not become ready."""
        tokens = self._directory / "tokens.csv"
        tokens.write_text("\n".join(self._users))
        command = [
            str(self._assets / "kube-apiserver"),
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            f"--secure-port={self._port}",
            f"--tls-cert-file={self._tls}",
            f"--tls-private-key-file={self._tls}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.service_account_key}",
            f"--service-account-signing-key-file={self.service_account_key}",
            f"--audit-policy-file={self._directory / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking-strict",
            "--audit-log-maxsize=100000",  # megabytes: one file, never rotated
            *self.flags,
        ]
        if self._address == LOOPBACK:
            command.append("--endpoint-reconciler-type=none")  # Endpoints refuse a loopback address
        self._apiserver = Child(command, self._directory / "kube-apiserver.log")
        with self.client() as client:
            self._apiserver.wait_for(client, "/readyz")
            self._apiserver.wait_for(client, "/api/v1/namespaces/default/services/kubernetes")  # it comes last

    def kill_apiserver(self) -> None:
        """End the API server with SIGKILL."""
        if self._apiserver is not None:
            self._apiserver.end(signal.SIGKILL)
            self._apiserver = None

    def client(self, token: str | None = None) -> httpx.Client:
        """Return a client of the API server; the caller closes it.

        Args:
            token: Whose requests these are; the admin's without it.
        """
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token or self.admin_token}"},
            verify=ssl.create_default_context(cafile=self.ca_file),
            timeout=30,
            trust_env=False,
        )

    def certificate(self, name: str, *identities: str, group: str | None = None) -> Path:
        """Write a certificate that the cluster's authority signs, with its key, into one PEM file.

        Args:
            name: The file's, without its suffix, and whose it is.
            identities: The addresses and names that a server with it has.
            group: The group of a client with it.
        """
        path = self._directory / f"{name}.pem"
        made = self._authority.issue_cert(name, *identities, common_name=name, organization_name=group)
        made.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def component_kubeconfig(self, user: str, group: str = "") -> Path:
        """Write a kubeconfig for a part of the cluster; to be called before the API server starts.

        Args:
            user: One that RBAC's built-in roles know, such as system:kube-proxy.
            group: Its group, if the roles go by that.
        """
        token = secrets.token_urlsafe(32)
        self._users.append(f'{token},{user},{user},"{group}"')
        path = self._directory / f"{user.split(':')[1]}.kubeconfig"
        self._write_kubeconfig(path, token)
        return path

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a token, good for an hour, of a service account that exists."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        with self.client() as client:
            answer = client.post(path, json={"spec": {"expirationSeconds": 3600}})
        return str(answer.raise_for_status().json()["status"]["token"])

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig with a new token of a service account that exists."""
        path = self._directory / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(path, self.service_account_token(namespace, name), namespace)
        return path

    def _write_kubeconfig(self, path: Path, token: str, namespace: str = "default") -> None:
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        context = {"cluster": "local", "user": "local", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "local", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": context}],
            "current-context": "local",
        }
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML

    def audit(self, stage: str = "ResponseComplete") -> list[dict[str, Any]]:
        """Return the audit events of a stage, oldest first.

        The event of a short answer is there before the answer is. That of a watch comes at its
        end; stage ``ResponseStarted`` has the watches that are open. Bodies are recorded for
        ConfigMaps only.
        """
        text = self.audit_log.read_text(encoding="utf-8", errors="replace")  # of managedFields any byte is kept
        lines = text[: text.rfind("\n") + 1].splitlines()  # without a line half written
        return [event for line in lines if (event := json.loads(line))["stage"] == stage]

    def apply_base(self) -> None:
        """Apply namespace, service account and RBAC of deploy/kustomize/base, and no workload."""
        objects = yaml.safe_load_all(self.kubectl("kustomize", str(BASE)))
        wanted = [each for each in objects if each["kind"] in BASE_KINDS]
        self.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(wanted))

    def kubectl(self, *arguments: str, given: str = "") -> str:
        """Run kubectl as the admin and return what it prints.

        Args:
            arguments: What follows ``kubectl``.
            given: Its standard input.

        Raises:
            RuntimeError: When it fails; the message has what it wrote to standard error.
        """
        command = [str(self._assets / "kubectl"), f"--kubeconfig={self.kubeconfig}"]
        command += [f"--cache-dir={self._directory / 'kubectl'}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout


def assets() -> Path | None:
    """Return the folder that has kube-apiserver, etcd and kubectl, or None when they are not built.

    ``CONTROL_PLANE_VERSION`` names a minor release other than the pinned one, such as 1.33.
    """
    version = os.getenv("CONTROL_PLANE_VERSION")
    build = [str(HERE / "build-release"), version] if version else [str(HERE / "build")]
    done = subprocess.run([*build, "--where"], stdout=subprocess.PIPE, text=True, check=False)
    folder = Path(done.stdout.strip())
    tools = (folder / name for name in ("kube-apiserver", "etcd", "kubectl"))
    found = done.returncode == 0 and all(os.access(tool, os.X_OK) for tool in tools)
    return folder if found else None


def free_ports() -> int:
    """Return a port that is free, as is the next one.

    They are below those the kernel gives to outgoing connections (32768 and up on Linux), so that
    none of these can take the API server's port while it is down. No other process that asks here
    gets them while this one lives: it keeps a lock on a file for the pair, so that tests can run
    side by side.
    """
    claims = Path(tempfile.gettempdir(), f"toolset-ports-{os.getuid()}")
    claims.mkdir(mode=0o700, exist_ok=True)
    while True:
        port = 20000 + 2 * secrets.randbelow(6000)
        claim = os.open(claims / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
            continue
        with socket.socket() as one, socket.socket() as two:
            if all(s.connect_ex((LOOPBACK, port + i)) for i, s in enumerate((one, two))):
                return port  # the claim stays open until the process ends
        os.close(claim)


def main() -> None:
    """Run a control plane until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("command", choices=["start"])
    parser.add_argument("directory", type=Path, help="where its state, logs and kubeconfig go")
    directory: Path = parser.parse_args().directory
    if (found := assets()) is None:
        parser.error("kube-apiserver and etcd are not built: run hack/controlplane/build")
    for signum in (signal.SIGINT, signal.SIGTERM):  # a background job begins with SIGINT ignored
        signal.signal(signum, signal.default_int_handler)
    try:
        with ControlPlane(found, directory) as plane:
            plane.apply_base()
            print(f"export KUBECONFIG={shlex.quote(str(plane.kubeconfig))}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
