"""What becomes of a Service is reported in Kubernetes Events about the ConfigMap."""

from typing import Any, Final

import pytest

from integration.cluster import NAMESPACE, Cluster, Tool, expected_urls
from integration.service import Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
BOARD: Final = Tool("grafana below /a and /b", "team-a", "event-board", 3000, "service", labels={"app": "grafana"})
WRONG: Final = Tool(
    "nothing", "team-a", "event-wrong", 8080, annotations={"toolset": "enabled", "toolset-scheme": "gopher"}
)
SHOP: Final = Tool("nothing", "team-a", "event-shop", 8080)


def reported(cluster: Cluster, tool: Tool) -> list[tuple[str, str]]:
    """Return reason and note of each Event about ``tool``, oldest first."""
    events: list[dict[str, Any]] = cluster.admin.get(EVENTS).raise_for_status().json()["items"]
    about = [event for event in events if event.get("related", {}).get("name") == tool.name]
    return [(event["reason"], event["note"]) for event in sorted(about, key=lambda event: str(event["eventTime"]))]


def test_who_asked_for_it_or_was_published_hears_what_became_of_it(cluster: Cluster, start: Start) -> None:
    cluster.create(BOARD, WRONG, SHOP)
    start(cluster, (BOARD,))
    settles(cluster.urls, expected_urls("grafana", [BOARD]), within_s=10)
    published = ("Published", f"Service team-a/event-board is published as grafana at {BOARD.url}")
    eventually(lambda: reported(cluster, BOARD) == [published], within_s=5)
    sentence = (
        "one of its annotations is not valid (annotation kubernaut.io/toolset-scheme=gopher must be http or https)"
    )
    refused = ("BadAnnotation", f"Service team-a/event-wrong is not published: {sentence}")
    eventually(lambda: reported(cluster, WRONG) == [refused], within_s=5)

    cluster.delete(BOARD)
    gone = ("Deleted", "Service team-a/event-board is no longer published: it was deleted")
    eventually(lambda: reported(cluster, BOARD) == [published, gone], within_s=5)
    assert reported(cluster, SHOP) == []
