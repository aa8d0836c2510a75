"""Write the pages of docs/reference that follow from the code: metrics and settings.

``python hack/docs/reference.py`` writes them; a test fails when one of them is stale.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from toolset.adapters.metrics import Metrics
from toolset.config.durations import Duration
from toolset.config.settings import Settings, reloads

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.+?)(?=\n    \w+: |\Z)", re.MULTILINE | re.DOTALL)
_HEAD: Final = "<!-- Written by hack/docs/reference.py; `make docs` writes it anew. -->\n"


def metrics() -> str:
    """Return the page of metrics."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` exposes, in Prometheus' format. Every series whose labels are known stands at zero from the",
        "start. Names of the machinery are those of client-go and controller-runtime.",
        "",
        "| Series | Kind | Meaning | Labels |",
        "|---|---|---|---|",
    ]
    for each in Metrics("").described():
        labels = ", ".join(
            f"`{name}`" + (f" ({', '.join(values)})" if values else "") for name, values in each.labels.items()
        )
        lines.append(f"| `{each.name}` | {each.kind} | {each.text} | {labels} |")
    return _HEAD + "\n".join(lines) + "\n"


def settings() -> str:
    """Return the page of settings."""
    lines = [
        "# Settings",
        "",
        "One YAML file (`--config FILE` or `TOOLSET_CONFIG`). Every value may also come from an environment variable:",
        "`health.timeout` from `TOOLSET_HEALTH__TIMEOUT`, written as YAML. A flag beats the environment, which beats",
        "the file, which beats the default. Durations are written as `5m`, `30s`, `1m30s` or `250ms`. A name that is",
        "there twice, an anchor, a tag, a date without quotes: all refused, because they surprise.",
        "`toolset check-config FILE` checks a file. A setting that reloads follows the file while the service runs; a",
        "change of any other is logged, and counts after a restart.",
    ]
    for section in msgspec.structs.fields(Settings):
        about = inspect.getdoc(section.type) or ""
        summary, _, attributes = about.partition("\nAttributes:\n")
        meanings = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(attributes)}
        lines += [
            "",
            f"## {section.name}",
            "",
            " ".join(summary.split()),
            "",
            "| Setting | Default | Reloads | Meaning |",
            "|---|---|---|---|",
        ]
        for field in msgspec.structs.fields(section.type):
            default = f"`{_shown(field.default, field.default_factory)}`"
            path, meaning = f"{section.name}.{field.name}", meanings[field.name].replace("``", "`")
            lines.append(f"| `{path}` | {default} | {'yes' if reloads(path) else 'no'} | {meaning} |")
    return _HEAD + "\n".join(lines) + "\n"


def _shown(default: object, factory: object) -> str:
    """Return a default as it is written in YAML."""
    if default is msgspec.NODEFAULT:
        default = factory() if callable(factory) else None
    if isinstance(default, Duration):
        return _duration(float(default))
    return msgspec.json.encode(default).decode()


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds / 60:.0f}m" if seconds % 60 == 0 and seconds else f"{seconds:g}s"


PAGES: Final[dict[str, Callable[[], str]]] = {"metrics.md": metrics, "settings.md": settings}


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
