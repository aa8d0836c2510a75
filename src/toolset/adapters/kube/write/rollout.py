"""Restart a Deployment by an annotation on its pod template, so that its pods read what is published."""

import orjson

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import NotFoundError
from toolset.model import Key


class DeploymentConsumer:
    """A reader that reads the ConfigMap at startup only."""

    def __init__(self, transport: KubeTransport, deployment: Key, annotation: str) -> None:
        """Create it.

        Args:
            transport: An open session; RBAC must allow patching the Deployment.
            deployment: The Deployment whose pods read the ConfigMap.
            annotation: The name of the annotation on its pods.
        """
        self._transport = transport
        self._deployment = deployment
        self._annotation = annotation

    async def notify(self, content_hash: str) -> None:
        """Set ``content_hash`` on the pod template; see ``reconciler.notify.Consumer``."""
        place = self._deployment
        path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/{place.name}"
        template = {"metadata": {"annotations": {self._annotation: content_hash}}}
        body = orjson.dumps({"spec": {"template": template}})
        try:
            await self._transport.send(Request("PATCH", path, body=body, content_type="application/merge-patch+json"))
        except NotFoundError as error:
            raise NotFoundError(f"Deployment {place}: {error}; check `notify.deployment`") from error
