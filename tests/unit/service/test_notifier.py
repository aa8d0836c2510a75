import anyio

from support.api_server import FixedCredentials
from support.background import running
from support.events import FakeEvents
from support.series import exposed
from support.stores import unexpected
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.config.loader import load
from toolset.model import ConfigMap
from toolset.runtime.store import Store
from toolset.service.notifier import Notifier
from toolset.telemetry.bundle import Telemetry
from toolset.telemetry.reconcile_log import ReconcileLog
from toolset.telemetry.tracing import NoTraces


async def test_where_nobody_is_to_be_notified_nothing_waits() -> None:
    metrics, store = Metrics("1"), Store[ConfigMap](unexpected)
    telemetry = Telemetry(metrics, FakeEvents(), NoTraces(), ReconcileLog(metrics, FakeEvents()))
    kube = KubeTransport(FixedCredentials("http://127.0.0.1:9"), "test")
    notifier = Notifier(load("", {}, {}), kube, store, telemetry)
    notifier.config_map_changed()
    async with running(notifier.run):
        await anyio.sleep(3600)
    assert exposed(metrics)['workqueue_adds_total{name="notify"}'] == 0
