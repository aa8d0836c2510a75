"""The reconciler of the target: render the current state, and write only changes."""

import math
from collections.abc import Sequence
from typing import Final

import anyio

from toolset.core.candidate import Candidate
from toolset.core.inventory import Inventory, tools_of
from toolset.core.overrides.baseline import Published
from toolset.core.publishing.overrides_source import InForce
from toolset.core.publishing.plan import Apply, Desired, Unchanged, manifest
from toolset.core.publishing.publication import Publication
from toolset.errors import ConflictError, TerminalError, TransientError
from toolset.model import ConfigMap, Key
from toolset.reconciler import spans
from toolset.reconciler.conflicts import RETRY_S, Conflicts
from toolset.reconciler.ports import Applier, PipelineObserver, Target, Triggers
from toolset.reconciler.publishing import Publisher, TargetOptions
from toolset.reconciler.repair_pace import RepairPace, editors, overwriters
from toolset.reconciler.spans import step
from toolset.reconciler.write_pace import WritePace
from toolset.runtime.backoff import RETRY_AFTER_CAP_S
from toolset.runtime.controller import DONE, Result

REWRITE_S: Final = 1.0
"""Delay after a write that the API server changed, seconds."""


class TargetReconciler:
    """Brings the ConfigMap in line with the results; sends no request if nothing differs."""

    def __init__(
        self,
        inventory: Inventory,
        config_maps: Target,
        applier: Applier,
        triggers: Triggers,
        observer: PipelineObserver,
        options: TargetOptions,
        in_force: InForce,
        published: Published,
    ) -> None:
        """Create it.

        Args:
            inventory: The state of each Service.
            config_maps: The stored target ConfigMap, and the separate one for overrides.
            applier: Writes the ConfigMap.
            triggers: Queues follow-up work.
            observer: Notified of every reconcile.
            options: How to publish.
            in_force: The overrides in force at the start.
            published: The tools that are published at the start.
        """
        self._inventory = inventory
        self._config_maps = config_maps
        self._applier = applier
        self._triggers = triggers
        self._observer = observer
        self._publisher = Publisher(options, in_force)
        self._separate = options.separate
        self._published = published
        self._winds_down = False
        self._patient_until = -math.inf  # the API server asked for no write before
        self._pace = WritePace(options.output.write_pause_cap, inventory.shares)
        self._repairs = RepairPace()
        self._conflicts = Conflicts()

    @property
    def in_force(self) -> InForce:
        """The overrides in force."""
        return self._publisher.in_force

    @property
    def published(self) -> Published:
        """The tools that are published."""
        return self._published

    def wind_down(self) -> None:
        """Stop waiting for later times: held removals stay held."""
        self._winds_down = True

    async def __call__(self, key: Key) -> Result:
        """Publish the current state to the ConfigMap ``key``.

        Raises:
            ToolsetError: The API server refused or failed, another instance of this service owns the ConfigMap, or the
                overrides have never been there; a conflict only if the newer version does not arrive.
        """
        patience_s = self._patient_until - anyio.current_time()
        if patience_s > 0.0 and not self._winds_down:
            return Result(requeue_after_s=patience_s)
        hold = self._inventory.hold(anyio.current_time(), self._published)
        self._observer.held(hold)
        cached = self._config_maps.get(key)
        with step("render"):
            verdicts = self._inventory.candidate_verdicts(hold.keys)
            publication = self._compose(tools_of(verdicts), cached)
        with step("plan"):
            wanted = self._publisher.wanted(publication)
            self._check_writer(key, wanted, cached)
            if publication.withheld:
                raise TerminalError(publication.withheld)
            decision = self._publisher.plan(key, wanted, cached)
        if isinstance(decision, Unchanged):
            self._observer.unchanged(len(publication.tools))
        else:
            if (wait_s := self._wait_s(publication, wanted, cached, decision)) and not self._winds_down:
                return Result(requeue_after_s=wait_s)
            written = await self._apply(key, wanted, cached, decision)
            if written is None:
                return Result(requeue_after_s=RETRY_S)
            self._pace.wrote(publication.tools, anyio.current_time())
            self._repairs.wrote(wanted, decision, cached, anyio.current_time())
            self._publisher.wrote(wanted)
            self._observer.published(decision, len(publication.tools), editors(decision, cached))
            if self._publisher.plan(key, wanted, written) != Unchanged():  # an admission webhook changed the write
                return Result(requeue_after_s=REWRITE_S)
        self._conflicts.ended()
        settled = {**verdicts, **publication.rejected}
        self._published = Published(tools={tool.key: tool.url for tool in tools_of(settled)})
        self._observer.settled(settled)
        return DONE if self._winds_down else Result(requeue_after_s=hold.again_s)

    def _check_writer(self, key: Key, wanted: Desired, cached: ConfigMap | None) -> None:
        try:
            self._publisher.check_writer_conflict(key, wanted, cached)
        except TerminalError as error:
            self._observer.refused(str(error))
            raise

    def _wait_s(self, publication: Publication, wanted: Desired, cached: ConfigMap | None, change: Apply) -> float:
        """Return how long ``change`` must wait, seconds, and report why."""
        now_s = anyio.current_time()
        pause_s = self._pace.wait_s(publication.tools, now_s)
        repair_s = self._repairs.wait_s(wanted, change, cached, now_s)
        if repair_s:
            self._observer.overwritten(overwriters(change, cached))
        elif pause_s:
            self._observer.paced(self._pace.changed(publication.tools), pause_s)
        return max(pause_s, repair_s, self._conflicts.wait_s(cached, now_s))

    def _compose(self, tools: Sequence[Candidate], cached: ConfigMap | None) -> Publication:
        separate = self._config_maps.get(self._separate) if self._separate else None
        publication = self._publisher.compose(tools, cached, separate)
        for changed in self._inventory.approve(publication.overrides.approved):
            self._triggers.detect(changed)
        self._observer.composed(publication)
        return publication

    async def _apply(self, key: Key, wanted: Desired, cached: ConfigMap | None, change: Apply) -> ConfigMap | None:
        """Write ``change``; return the result, or ``None`` if somebody else wrote meanwhile."""
        spans.changed()
        with step("apply"):
            try:
                body = change.manifest
                if cached and change.by_patch:  # first: the apply removes them from our list, and then nothing would
                    # Written keys are included, so that a tool whose key moves is never missing in between.
                    moved = {key: wanted.data[key] for key in change.written} | dict.fromkeys(change.by_patch)
                    cached = await self._applier.patch(cached, moved)
                    self._config_maps.overlay(cached)
                    body = manifest(key, wanted, cached)
                written = await self._applier.apply(key, body)
            except ConflictError as error:
                self._conflicted(error, cached)
                return None
            except TransientError as error:
                self._note_patience(error)
                raise
        self._config_maps.overlay(written)
        return written

    def _conflicted(self, error: ConflictError, cached: ConfigMap | None) -> None:
        """Count a conflict; one without a newer version is raised again, for the queue's backoff."""
        self._conflicts.met(cached, anyio.current_time())
        self._note_patience(error)
        self._observer.conflicted()
        if self._conflicts.is_blind:
            self._config_maps.relist()
            raise error

    def _note_patience(self, error: TransientError) -> None:
        """Record for how long the API server wants no other write, however many changes there are."""
        self._patient_until = anyio.current_time() + min(error.retry_after_s, RETRY_AFTER_CAP_S)
