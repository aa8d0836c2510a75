"""Format results as table, text, YAML or JSON."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import orjson
import yaml

from toolset.commands.check_config import Match
from toolset.commands.doctor import Check
from toolset.commands.explain import DROPPED, IGNORED, Explanation
from toolset.commands.notes import ESCAPED
from toolset.commands.plan import Report
from toolset.core.candidate import Candidate, Evidence, Reason, Variant, Verdict
from toolset.core.health.thresholds import Health
from toolset.core.status.advice import remedy
from toolset.core.status.texts import counted
from toolset.model import Key

_COLOURS: Final = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
_STATES: Final = {"ok": "\x1b[32m", "problem": "\x1b[31m", "unknown": "\x1b[33m"}
VERDICTS: Final = {"published": "\x1b[32m", Reason.UNHEALTHY.word: "\x1b[31m", Reason.AUTH_REQUIRED.word: "\x1b[31m"}
"""The colours of verdicts in tables."""
_RESET: Final = "\x1b[0m"
_OF_CANDIDATES: Final = frozenset(reason.word for reason in Reason if reason.of_candidates)


def as_table(report: Report, *, colour: bool, wide: bool = False) -> str:
    """Return all candidates and near misses with their verdicts, and the diff against the live ConfigMap.

    Args:
        report: The plan.
        colour: Whether to colour verdicts and the diff.
        wide: Whether to show the evidence and the URL too.
    """
    more = ("EVIDENCE", "URL") if wide else ()
    heads = ("SERVICE", "VERDICT", "TYPE", *more, "DETAIL")
    lines = aligned([heads, *_rows(report, wide=wide)], VERDICTS if colour else {})
    rejected = len(report.verdicts) - len(report.candidates)
    static = sum(not key.namespace for key in report.verdicts)
    lines.append("")
    services = counted(len(report.verdicts) - static, "Service")
    candidates = counted(len(report.candidates) - static, "candidate")
    listed = f"; {counted(static, 'static backend')}" if static else ""
    lines.append(f"{services}: {candidates}, {rejected} not recognised{listed}")
    lines.append("")
    if not report.health_enabled:
        lines += ["nothing was probed: health.enabled is false, so every candidate counts as healthy", ""]
    if report.overrides_error and not report.withheld:
        lines += [f"{IGNORED}: {report.overrides_error.translate(ESCAPED)}", ""]
    lines += report.overrides_moved
    lines += [f"{key} is not written: binaryData holds the key; remove it there" for key in report.blocked]
    lines += [f"{DROPPED}: {problem.translate(ESCAPED)}" for problem in report.overrides_dropped]
    lines += [sentence.translate(ESCAPED) for sentence in report.overrides_unmatched]
    lines += [f"{key}: {health.how}" for key, health in sorted(report.healths.items()) if health.up and health.how]
    lines += [f"{key}: {note}" for key, note in sorted(report.notes.items())]
    lines += [f"overrides.yaml sets of {key}: {', '.join(names)}" for key, names in sorted(report.overridden.items())]
    return "\n".join([*lines, *_planned(report, colour=colour)]) + "\n"


def _planned(report: Report, *, colour: bool) -> list[str]:
    """Return the lines about the change, or why there is none."""
    if report.unreachable or report.withheld:
        return [report.unreachable or report.withheld.translate(ESCAPED)]
    if report.change is None:
        return [f"ConfigMap {report.target} is up to date"]
    shown = [line.translate(ESCAPED) for line in report.diff] or ["(labels and annotations only)"]
    coloured = [_coloured(line) if colour else line for line in shown]
    return [f"ConfigMap {report.target} would change:", *coloured]


class _Manifest(yaml.CSafeDumper):
    """Writes text of several lines as people do: as a block."""


def _block(_: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Manifest.add_representer(str, _block)


def as_yaml(report: Report) -> str:
    """Return the planned ConfigMap as a manifest."""
    text = yaml.dump(orjson.loads(report.manifest), Dumper=_Manifest, sort_keys=False, width=2**16)
    assert isinstance(text, str)  # noqa: S101 - without a stream yaml returns text; its types say Any
    return text


def as_json(report: Report) -> str:
    """Return the whole report as one JSON object."""
    content = {
        "target": str(report.target),
        "changes": report.change is not None,
        "written": report.change.written if report.change else (),
        "removed": report.change.removed if report.change else (),
        "candidates": [_described(report, candidate) for candidate in report.candidates],
        "reasons": _reasons(report),
        "overridden": {str(key): names for key, names in sorted(report.overridden.items())},
        "overrides_error": report.overrides_error,
        "blocked": report.blocked,
        "overrides_dropped": report.overrides_dropped,
        "overrides_moved": report.overrides_moved,
        "overrides_unmatched": report.overrides_unmatched,
        "withheld": report.withheld,
        "unreachable": report.unreachable,
        "notes": {str(key): note for key, note in sorted(report.notes.items())},
        "health_enabled": report.health_enabled,
        "diff": report.diff,
    }
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def explained(explanation: Explanation, prefix: str, overrides: Key) -> str:
    """Return the explanation of one Service as text.

    Args:
        explanation: The explanation.
        prefix: The annotation prefix.
        overrides: The key of the ConfigMap that holds ``overrides.yaml``.
    """
    name = str(Key(explanation.namespace, explanation.name))
    if explanation.type is None:
        near = explanation.near if explanation.reason not in _OF_CANDIDATES else None
        advice = remedy(explanation.reason or "", prefix, overrides)
        hints = "; ".join(filter(None, (near and f"nearly recognised as {near}", advice)))
        lines = [f"{name} is not published: {explanation.detail} [{explanation.reason}]", hints, explanation.note or ""]
    else:
        source = f"its {explanation.matched or explanation.evidence} says {explanation.product}"
        if explanation.evidence == Evidence.SETTINGS.value:
            source = "the settings list it as static"
        if "type" in explanation.overridden:
            source = "an override says so"
        lines = [
            f"{name} is recognised as {explanation.type}: {source}",
            *([] if explanation.now else [f"published at {explanation.url} {_condition(explanation)}"]),
        ]
        if explanation.overridden:
            lines.append(f"{explanation.overridden_at}, sets its {', '.join(explanation.overridden)}")
        lines += [*_ways(explanation), explanation.note or ""]
    if explanation.now:
        lines.append(f"now: {explanation.now}")
    return "\n  ".join(line.translate(ESCAPED) for line in lines if line) + "\n"


def _ways(explanation: Explanation) -> list[str]:
    """Return how the published variant was found, or which others the probe may request."""
    if explanation.how:
        return [f"found by the probe: {explanation.how}"]
    if explanation.health_path is None or explanation.requests is not None:
        return []
    first = explanation.chosen or next(iter(explanation.variants), None)
    if first is None:
        return []
    others = [each for each in (*explanation.variants, *explanation.fallbacks) if each != first]
    shown = "; ".join(_way(each, first) for each in others)
    return [f"if an answer suggests it, the probe also tries {shown}"] if shown else []


def _way(variant: Variant, first: Variant) -> str:
    port = f" on port {variant.port}" if variant.port != first.port else ""
    return f"{variant.scheme}{port}" + (f" at {variant.path or '/'}" if variant.path != first.path else "")


def _condition(explanation: Explanation) -> str:
    if explanation.health_path is None:
        return "unprobed, because health.enabled is false"
    moved = explanation.probed_url not in {None, explanation.url}
    proven = explanation.requests is not None and explanation.chosen is not None
    if proven:
        return f"now: {explanation.probed_url if moved else 'it'} answers GET {explanation.health_path}"
    proof = f" and proves to be {explanation.product}" if explanation.to_prove else ""
    return f"once {explanation.probed_url if moved else 'it'} answers GET {explanation.health_path}{proof}"


def as_lines(explanations: Sequence[Explanation]) -> str:
    """Return one JSON object per line."""
    return "".join(f"{msgspec.json.encode(explanation).decode()}\n" for explanation in explanations)


def as_matches(source: str, matches: Sequence[Match], *, services: int | None, static: int = 0) -> str:
    """Return the result of a valid settings file, with the matches of each detector.

    Args:
        source: The settings file.
        matches: For each effective detector.
        services: The number of Services checked; ``None`` without manifests.
        static: The number of static backends.
    """
    own = sum(match.own for match in matches)
    lines = [f"{source} is valid; detectors: {own} of your own, {len(matches) - own} built in"]
    if static:
        lines[0] += f"; static backends: {static}"
    if services is not None:
        lines += ["", f"Services checked: {services}", ""]
        rows = [("DETECTOR", "TYPE", "FROM", "MATCHES")]
        for match in matches:
            found = ", ".join(match.services) or "-"
            rows.append((match.product, match.type, "settings" if match.own else "built in", found))
        lines += aligned(rows)
    return "\n".join(lines) + "\n"


def as_check(check: Check, *, colour: bool) -> str:
    """Return the result of one check as text."""
    state = check.state.ljust(7)
    shown = f"{_STATES[check.state]}{state}{_RESET}" if colour else state
    lines = [f"{shown}  {f'{check.subject}: {check.detail}'.translate(ESCAPED)}"]
    if check.remedy:
        lines.append(f"         remedy: {check.remedy}".translate(ESCAPED))
    return "\n".join(lines) + "\n"


def diagnosis(checks: Sequence[Check]) -> str:
    """Return the summary line of the doctor."""
    problems, unseen = (sum(check.state == state for check in checks) for state in ("problem", "unknown"))
    parts = [
        f"{len(checks)} check{'s' * (len(checks) > 1)}",
        f"{problems} problem{'s' * (problems > 1)}" if problems else "no problem",
        *([f"{unseen} that could not be seen"] if unseen else []),
    ]
    return f"\n{', '.join(parts)}\n"


def as_checks(checks: Sequence[Check]) -> str:
    """Return all checks as one JSON array."""
    return msgspec.json.format(msgspec.json.encode(checks)).decode() + "\n"


def describe(verdict: Verdict) -> tuple[str, str]:
    """Return a verdict as a word and the rest, for example ``Unhealthy`` and ``answered 503``."""
    if isinstance(verdict, Candidate):
        return "published", ""
    return verdict.reason.word, verdict.detail or verdict.reason.value


def _rows(report: Report, *, wide: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    found = {candidate.key: candidate for candidate in report.candidates}
    for key, verdict in report.verdicts.items():
        candidate = found.get(key)
        if candidate is None and (isinstance(verdict, Candidate) or not verdict.type):
            continue
        word, detail = describe(verdict)
        more = (candidate.evidence.value, candidate.url) if candidate is not None else ("", "")
        rows.append((str(key), word, (candidate or verdict).type, *(more if wide else ()), detail))
    return rows


def _described(report: Report, candidate: Candidate) -> dict[str, object]:
    verdict, health = report.verdicts[candidate.key], report.healths.get(candidate.key, Health())
    return {
        "namespace": candidate.key.namespace,
        "name": candidate.key.name,
        "type": candidate.type,
        "evidence": candidate.evidence.value,
        "url": candidate.url,
        "variants": candidate.variants,
        "chosen": health.variant if health.up else None,
        "requests": health.requests or None,
        "how": health.how,
        "published": isinstance(verdict, Candidate),
        "reason": None if isinstance(verdict, Candidate) else verdict.reason.word,
        "detail": "" if isinstance(verdict, Candidate) else verdict.detail,
    }


def _reasons(report: Report) -> dict[str, int]:
    count: dict[str, int] = {}
    for verdict in report.verdicts.values():
        word = "Published" if isinstance(verdict, Candidate) else verdict.reason.word
        count[word] = count.get(word, 0) + 1
    return dict(sorted(count.items()))


def aligned(rows: Sequence[tuple[str, ...]], colours: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the lines of a table; control characters are shown as escapes, a cell in ``colours`` has its colour."""
    safe = [tuple(cell.translate(ESCAPED) for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*safe, strict=True)]
    lines = [[(cell, cell.ljust(width)) for cell, width in zip(row, widths, strict=True)] for row in safe]
    shown = (
        "  ".join(f"{colours[cell]}{padded}{_RESET}" if cell in colours else padded for cell, padded in line)
        for line in lines
    )
    return [line.rstrip() for line in shown]


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1])
    return f"{colour}{line}{_RESET}" if colour else line
