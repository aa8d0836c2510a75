"""A whole cluster in the process: its API server, and changes by an admin."""

from contextlib import AsyncExitStack
from typing import Self

import orjson

from toolset.sim.kinds import KINDS, Place
from toolset.sim.server import BOOKMARK_S, ApiServer
from toolset.sim.statuses import Object
from toolset.sim.store import LOG_SIZE, Store

ADMIN = "kubectl-edit"


class EmbeddedCluster:
    """A cluster on a loopback port; use it as an async context manager.

    Changes by :meth:`create` and the others take effect immediately, as if by an admin, and watches receive them.

    Attributes:
        url: The URL of the API server.
        store: The objects.
        server: The API server.
    """

    def __init__(self, *, log_size: int = LOG_SIZE, bookmark_s: float = BOOKMARK_S) -> None:
        """Create a cluster with the default namespaces and the ``kubernetes`` Service.

        Args:
            log_size: How many changes watches can go back.
            bookmark_s: How long a watch is silent before a bookmark, seconds.
        """
        self.url = ""
        self.store = Store(log_size)
        self.server = ApiServer(self.store, bookmark_s=bookmark_s)
        self._stack = AsyncExitStack()
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.create("Namespace", {"metadata": {"name": name}}, manager="kube-apiserver")
        ports = [{"name": "https", "port": 443, "targetPort": 6443}]
        first = {"metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {"ports": ports}}
        self.create("Service", first, manager="kube-apiserver")

    async def __aenter__(self) -> Self:
        """Listen."""
        self.url = await self._stack.enter_async_context(self.server.serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening; open watches are closed."""
        await self._stack.aclose()

    def kubeconfig(self, namespace: str = "default") -> str:
        """Return a kubeconfig for this cluster."""
        return kubeconfig(self.url, namespace)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object; ``None`` if there is none."""
        return self.store.get(_place(kind, namespace, name))

    def create(self, kind: str, content: Object, *, manager: str = ADMIN) -> Object:
        """Create an object; return it.

        Raises:
            Refused: As the API server would refuse it.
        """
        return self.server.writer.create(_place(kind, content["metadata"].get("namespace", "")), content, manager)

    def patch(self, kind: str, namespace: str, name: str, change: Object, *, manager: str = ADMIN) -> Object:
        """Change an object by a JSON merge patch; return it.

        Raises:
            Refused: As the API server would refuse it.
        """
        return self.server.writer.patch(_place(kind, namespace, name), change, manager)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; a Namespace is deleted with all its content.

        Raises:
            Refused: As the API server would refuse it.
        """
        self.server.writer.delete(_place(kind, namespace, name))


def kubeconfig(url: str, namespace: str = "default") -> str:
    """Return a kubeconfig for the API server at ``url``, which has no authentication."""
    context = {"cluster": "embedded", "user": "embedded", "namespace": namespace}
    config: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "embedded", "cluster": {"server": url}}],
        "users": [{"name": "embedded", "user": {}}],
        "contexts": [{"name": "embedded", "context": context}],
        "current-context": "embedded",
    }
    return orjson.dumps(config, option=orjson.OPT_INDENT_2).decode()  # JSON is YAML


def _place(kind: str, namespace: str, name: str = "") -> Place:
    return Place(next(each for each in KINDS if each.name == kind), namespace, name)
