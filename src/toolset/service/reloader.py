"""Reload the settings file while the service runs: changes are validated as a whole, then applied immediately."""

import logging
from collections.abc import Callable
from typing import Final, Literal

import anyio
import anyio.to_thread
import msgspec
from msgspec.inspect import is_struct_type

from toolset.adapters.logs import set_up_logs
from toolset.adapters.metrics import Metrics
from toolset.config.clients import named
from toolset.config.options import check, doubts
from toolset.config.settings import Settings, reloads
from toolset.config.source import Source
from toolset.errors import SettingsError
from toolset.runtime.current import Current
from toolset.telemetry import event_notes

LOOK_S: Final = 2.0
"""Time between two reads of the file, seconds. A content is used once two consecutive reads match, so that a partially
written file is not; a read takes 0.1 ms, and works on every file system."""

Record = Callable[[Literal["Normal", "Warning"], str, str], None]

_log: Final = logging.getLogger("toolset")


class Reloader:
    """Reads the settings file again whenever its content changes.

    This includes a symlink into a folder that is swapped, as by the kubelet. A file that cannot be read or is not valid
    leaves the settings unchanged. The environment and the flags keep their precedence.

    Attributes:
        problem: Why the file is rejected; empty when it is in force.
        waiting: Settings that differ from the file until a restart.
    """

    def __init__(
        self,
        source: Source,
        text: str,
        settings: Current[Settings],
        metrics: Metrics,
        *,
        record: Record,
    ) -> None:
        """Create it.

        Args:
            source: Where the settings come from.
            text: The initial content of the file.
            settings: Those in force.
            metrics: The series.
            record: Records a Kubernetes Event: its type, its reason, and a note.
        """
        self._source = source
        self._found = self._seen = _Content(text)
        self._settings = settings
        self._metrics = metrics
        self._record = record
        self.problem = ""
        self.waiting: tuple[str, ...] = ()
        metrics.settings_valid.set(1)
        metrics.settings_loaded_at.set_to_current_time()

    async def run(self) -> None:
        """Follow the file until cancelled; return immediately if there is none that could change."""
        if not self._source.can_change:
            return
        while True:
            await anyio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Read the file once."""
        before, self._found = self._found, await anyio.to_thread.run_sync(self._content, abandon_on_cancel=True)
        if self._found == before and self._found != self._seen:
            self._seen = self._found
            self._consider(self._found)

    def _content(self) -> "_Content":
        try:
            return _Content(self._source.read())
        except SettingsError as error:
            return _Content(problem=str(error))

    def _consider(self, found: "_Content") -> None:
        if found.problem:
            self._refuse(found.problem)
            return
        try:
            wanted = named(self._source.parse(found.text), dict(self._source.environment))
            check(wanted)
        except SettingsError as error:
            self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must not stop the service
            _log.exception("settings cannot be checked")
            self._refuse(f"they cannot be checked ({type(error).__name__})")
        else:
            self._put_in_force(wanted)

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._metrics.settings_reloads.labels("invalid").inc()
        self._metrics.settings_valid.set(0)
        _log.error("settings not valid; those in force stay", extra={"error": problem[:512]})
        self._record("Warning", "SettingsInvalid", event_notes.settings_invalid(problem))

    def _put_in_force(self, wanted: Settings) -> None:
        before = self._settings.value
        merged, changed, waiting = merge(before, wanted)
        self.problem, self.waiting = "", waiting
        self._metrics.settings_reloads.labels("success").inc()
        self._metrics.settings_valid.set(1)
        self._metrics.settings_loaded_at.set_to_current_time()
        self._metrics.settings_waiting.set(len(waiting))
        _log.info("settings reloaded", extra={"changed": list(changed)})
        for path in waiting:
            _log.warning("setting not changed: restart needed", extra={"setting": path})
        self._record("Normal", "SettingsReloaded", event_notes.settings_reloaded(changed, waiting))
        if merged.log != before.log:
            set_up_logs(merged.log.level, merged.log.format)
        if changed:
            log_doubts(merged)
            self._settings.set(merged)


def log_doubts(settings: Settings) -> None:
    """Warn of valid settings that are likely mistakes."""
    for doubt in doubts(settings):
        _log.warning("setting in doubt", extra={"problem": doubt})


class _Content(msgspec.Struct, frozen=True):
    """The result of reading the file: a text, or an error."""

    text: str = ""
    problem: str = ""


def merge(running: Settings, wanted: Settings) -> tuple[Settings, tuple[str, ...], tuple[str, ...]]:
    """Return which changes from ``running`` to ``wanted`` can be applied now.

    Returns:
        The settings from now on; the names of those that change; the names of those that differ and need a restart.
    """
    sections: dict[str, object] = {}
    changed: list[str] = []
    waiting: list[str] = []
    for section in msgspec.structs.fields(Settings):
        before, after = getattr(running, section.name), getattr(wanted, section.name)
        if not is_struct_type(section.type):  # a list is compared as a whole
            sections[section.name] = after
            changed += [section.name] * (before != after)
            continue
        new: dict[str, object] = {}
        for field in msgspec.structs.fields(section.type):
            value, path = getattr(after, field.name), f"{section.name}.{field.name}"
            if value == getattr(before, field.name):
                continue
            if reloads(path):
                new[field.name] = value
                changed.append(path)
            else:
                waiting.append(path)
        sections[section.name] = msgspec.structs.replace(before, **new)
    return msgspec.structs.replace(running, **sections), tuple(changed), tuple(waiting)
