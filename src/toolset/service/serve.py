"""Start the service as a process: settings, logs, traces, metrics, credentials; then run it until a signal ends it."""

import logging
import os
import socket
from typing import Final

import msgspec

from toolset import __version__
from toolset.adapters.logs import set_up_logs
from toolset.adapters.metrics import Metrics
from toolset.adapters.traces import set_up_traces
from toolset.config.clients import named, transport
from toolset.config.options import check, target_key
from toolset.config.settings import Settings
from toolset.config.source import Source
from toolset.runtime.current import Current
from toolset.service.app import App
from toolset.service.permission_monitor import PermissionMonitor
from toolset.service.reloader import Reloader, log_doubts
from toolset.telemetry.observers import ClientMetrics

_log: Final = logging.getLogger("toolset")


async def serve(source: Source) -> None:
    """Build the service and run it until a signal ends it.

    Args:
        source: Where the settings come from; followed while the service runs.

    Raises:
        SettingsError: The settings are not valid, there are no credentials, or the port cannot be listened on.
    """
    environment = dict(os.environ)
    text = source.read()
    settings = Current(named(source.parse(text), environment))
    set_up_logs(settings.value.log.level, settings.value.log.format)
    check(settings.value)
    log_doubts(settings.value)
    tracing = set_up_traces(environment, __version__, socket.gethostname())
    metrics = Metrics(__version__)
    monitor = PermissionMonitor(settings, metrics)
    async with transport(settings.value, environment, ClientMetrics(metrics, monitor.refused).answered) as kube:
        origin = await kube.check_credentials()
        _log.info("starting", extra=_start(settings.value, source.file) | msgspec.structs.asdict(origin))
        app = App(settings, kube, metrics, tracing, monitor, cluster=origin.cluster, settings_file=source.file)
        await app.run(Reloader(source, text, settings, metrics, record=app.record_reload))


def _start(settings: Settings, file: str) -> dict[str, object]:
    """Return what to log about a process that starts."""
    return {
        "service.version": __version__,
        "target": str(target_key(settings)),
        "election": settings.election.enabled,
        "settings": file or "defaults and environment",
    }
