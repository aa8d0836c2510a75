"""Print the status as tables, text or JSON."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from toolset.commands.notes import ESCAPED
from toolset.commands.printers import VERDICTS, aligned
from toolset.core.candidate import Reason
from toolset.core.status.snapshot import PUBLISHED, Installation, ServiceStatus, StatusSnapshot, Summary
from toolset.core.status.texts import age, counted, now, probe_text


def as_json(content: msgspec.Struct) -> str:
    """Return ``content`` as one JSON object."""
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def as_table(snapshot: StatusSnapshot, *, colour: bool, wide: bool) -> str:
    """Return the process, the problems, and the Services of the snapshot; ``wide`` adds columns and opted-out ones."""
    summary = snapshot.summary
    lines = [_installation(summary.installation, summary), *_problems(summary), ""]
    more = ("URL", "PRODUCT", "EVIDENCE", "NEXT PROBE", "OVERRIDDEN") if wide else ()
    heads = ("SERVICE", "VERDICT", "TYPE", "SINCE", "LAST PROBE", *more, "DETAIL")
    rows = [
        _row(each, summary.at, wide=wide)
        for each in sorted(snapshot.services, key=lambda each: (not each.published, each.type, each.key))
        if wide or each.verdict != Reason.OPTED_OUT.word
    ]
    lines += aligned([heads, *rows], VERDICTS if colour else {}) if rows else ["no Service is recognised"]
    lines += ["", *_counts(snapshot, len(rows))]
    return "\n".join(lines) + "\n"


def as_text(service: ServiceStatus, at: datetime) -> str:
    """Return the status of one Service; ``at`` is the time for ages."""
    name = f"{service.namespace}/{service.name}"
    lines = [f"{name} {now(service, at)}"]
    if service.type:
        source = f", by its {service.evidence}" if service.evidence else ""
        lines.append(f"type {service.type}{f' ({service.product})' if service.product else ''}{source}")
    if service.url and not service.published:
        lines.append(f"would be published at {service.url}")
    lines += [service.how] if service.how else []
    lines += [f"overrides.yaml sets its {', '.join(service.overridden)}"] if service.overridden else []
    lines += [each for each in (service.note, service.remedy) if each]
    return "\n  ".join(line.translate(ESCAPED) for line in lines) + "\n"


def _installation(installation: Installation, summary: Summary) -> str:
    since = f" for {age(installation.since, summary.at)}" if installation.since else ""
    write = f", last write {age(summary.write.at, summary.at)} ago" if summary.write else ""
    tools = summary.sizes.tools
    return (
        f"ConfigMap {installation.target}: {tools} tool{'s' * (tools != 1)} published{write}; "
        f"{installation.role}{since}: {installation.identity} (version {installation.version})"
    ).translate(ESCAPED)


def _problems(summary: Summary) -> Iterator[str]:
    for problem in summary.problems:
        yield f"{problem.severity}: {problem.sentence} [{problem.word}]".translate(ESCAPED)
        if problem.remedy:
            yield f"  remedy: {problem.remedy}".translate(ESCAPED)


def _row(service: ServiceStatus, at: datetime, *, wide: bool) -> tuple[str, ...]:
    verdict = "published" if service.published else service.verdict
    verdict = "published (held)" if service.held else verdict
    detail = "" if service.published or service.held else service.sentence
    probe = service.probe
    cells = (
        f"{service.namespace}/{service.name}",
        verdict,
        service.type or "-",
        age(service.since, at) if service.since else "-",
        probe_text(probe, at) if probe is not None else "-",
    )
    if not wide:
        return (*cells, detail)
    due = f"in {age(at, probe.next_at)}" if probe is not None and probe.next_at is not None else "-"
    more = (service.url or "-", service.product or "-", service.evidence or "-", due)
    return (*cells, *more, ",".join(service.overridden) or "-", detail)


def _counts(snapshot: StatusSnapshot, shown: int) -> Iterator[str]:
    verdicts = snapshot.summary.verdicts
    total = sum(verdicts.values())
    if not total:
        return
    named = ", ".join(f"{count} {word}" for word, count in verdicts.items() if word != PUBLISHED)
    yield f"{counted(total, 'Service')}: {verdicts.get(PUBLISHED, 0)} published" + (f", {named}" if named else "")
    if snapshot.services_omitted:
        yield f"{snapshot.services_omitted} more Services than the {shown} above are left out"
