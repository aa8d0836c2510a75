"""Notify the readers in the settings of changes of the ConfigMap, once the new state has reached them."""

from toolset.adapters.consumer import HttpConsumer
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.rollout import DeploymentConsumer
from toolset.config.options import target_key
from toolset.config.settings import Settings
from toolset.model import ConfigMap, Key
from toolset.reconciler import spans
from toolset.reconciler.notify import NotifyReconciler, Reader
from toolset.runtime.controller import Controller
from toolset.runtime.delays import Debounce
from toolset.runtime.store import Store
from toolset.runtime.workqueue import WorkQueue
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.observers import ControllerMetrics, QueueMetrics


class Notifier:
    """A separate queue, so that a reader that hangs or fails never delays a write.

    It starts by notifying them of the current content: its writer may have ended before it could notify them.
    """

    def __init__(
        self, settings: Settings, kube: KubeTransport, config_maps: Store[ConfigMap], telemetry: Telemetry
    ) -> None:
        """Create it.

        Args:
            settings: The readers to notify.
            kube: The session with the API server.
            config_maps: The stored ConfigMap.
            telemetry: Logs, metrics, traces and Events.
        """
        self.settings = notify = settings.notify
        prefix = settings.discovery.annotation_prefix
        readers: list[Reader] = []
        if notify.url:
            readers.append(Reader(HttpConsumer(notify.url, notify.headers_from)))
        if notify.deployment:
            namespace, _, name = notify.deployment.partition("/")
            deployment = DeploymentConsumer(kube, Key(namespace, name), f"{prefix}/toolsets-hash")
            readers.append(Reader(deployment, notify.min_interval))
        self._target = target_key(settings)
        self._has_readers = bool(readers)
        self._settle = Debounce(notify.delay, 4 * notify.delay)
        observer = QueueMetrics(telemetry.metrics, "notify")
        self._queue: WorkQueue[Key] = WorkQueue(observer=observer)
        observer.watch(self._queue.__len__, self._queue.in_work_since)
        self._controller = Controller(
            self._queue,
            NotifyReconciler(config_maps, readers, prefix),
            ControllerMetrics(telemetry.metrics, "notify"),
            scope=telemetry.traces.scope("notify", self._queue),
        )

    def config_map_changed(self) -> None:
        """Notify the readers once changes have settled."""
        if self._has_readers:
            self._queue.add(self._target, settle=self._settle, cause=spans.changed())

    async def run(self) -> None:
        """Notify readers until cancelled; may be called again."""
        self.config_map_changed()
        await self._controller.run()
