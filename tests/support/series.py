"""The series of a process as a scrape has them."""

from toolset.adapters.metrics import Metrics


def exposed(metrics: Metrics) -> dict[str, float]:
    """Return the value of every series by its name with labels."""
    pairs = (line.rsplit(" ", 1) for line in metrics.expose()[0].decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def counted(metrics: Metrics, prefix: str) -> dict[str, float]:
    """Return the series that begin with ``prefix`` and are not zero."""
    return {name: value for name, value in exposed(metrics).items() if value and name.startswith(prefix)}
