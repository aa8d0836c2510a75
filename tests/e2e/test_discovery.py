"""What happens to Services and their pods shows in the ConfigMap, with real pods, a real network and real DNS."""

import json

import msgspec
import pytest

from e2e.cluster import BACK_S, DEPLOYMENT, GONE_S, TARGET, Cluster, prometheus
from integration.cluster import Tool, urls_in
from support.waiting import eventually, settles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ANSWERS = """
import http.client, json, sys, urllib.parse

def answers(url):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=5)
    connection.request("GET", "/-/healthy")
    return connection.getresponse().status < 500

print(json.dumps({url: answers(url) for url in sys.argv[1:]}))
"""


def test_what_is_published_is_reached_by_its_dns_name_from_a_pod(cluster: Cluster, tool: Tool) -> None:
    urls = list(urls_in(cluster.data()).values())
    assert tool.url in urls
    answers = cluster.kubectl("exec", DEPLOYMENT, "--", "python", "-c", ANSWERS, *urls)
    assert json.loads(answers) == dict.fromkeys(urls, True)


def test_a_service_that_appears_is_reported_by_an_event(cluster: Cluster, tool: Tool) -> None:
    def notes() -> list[str]:
        events = cluster.get("events", "--field-selector=involvedObject.name=kubernaut-toolset-config")["items"]
        return [event["message"] for event in events if f"{tool.namespace}/{tool.name}" in event["message"]]

    eventually(notes, within_s=10)


def test_a_changed_port_is_followed_and_a_deleted_service_goes(cluster: Cluster, tool: Tool) -> None:
    moved = msgspec.structs.replace(tool, port=80)
    cluster.create(moved)
    settles(lambda: cluster.urls(tool.namespace), [moved.url], within_s=10)
    cluster.delete(tool)
    settles(lambda: cluster.urls(tool.namespace), [], within_s=10)


def test_a_backend_whose_pod_is_killed_goes_and_comes_back_with_it(cluster: Cluster, tool: Tool) -> None:
    cluster.scale("deployment/prometheus", 0, tool.namespace)
    settles(lambda: cluster.urls(tool.namespace), [], GONE_S)
    cluster.scale("deployment/prometheus", 1, tool.namespace)
    settles(lambda: cluster.urls(tool.namespace), [tool.url], BACK_S)


def test_annotations_that_change_act_at_once(cluster: Cluster, tool: Tool) -> None:
    cluster.annotate(tool, "toolset=disabled")
    settles(lambda: cluster.urls(tool.namespace), [], within_s=10)
    cluster.annotate(tool, "toolset-")
    settles(lambda: cluster.urls(tool.namespace), [tool.url], within_s=10)
    cluster.annotate(tool, "toolset-path=/prometheus")
    settles(lambda: cluster.urls(tool.namespace), [], GONE_S)  # this Prometheus has nothing there
    cluster.annotate(tool, "toolset-path-")
    settles(lambda: cluster.urls(tool.namespace), [tool.url], BACK_S)


def test_a_deleted_namespace_takes_its_backends_along(cluster: Cluster) -> None:
    tool = Tool("prometheus", "e2e-deleted", "prometheus", 9090, "web")
    cluster.kubectl("create", "namespace", tool.namespace)
    cluster.apply(prometheus("prometheus"), namespace=tool.namespace)
    cluster.create(tool)
    settles(lambda: cluster.urls(tool.namespace), [tool.url], within_s=60)
    cluster.kubectl("delete", "namespace", tool.namespace, "--wait=false")
    settles(lambda: cluster.urls(tool.namespace), [], within_s=10)
    cluster.kubectl("wait", "--for=delete", f"namespace/{tool.namespace}", "--timeout=60s")


def test_the_sample_prometheus_scrapes_the_service(cluster: Cluster) -> None:
    """Its Service, its port and its network let a Prometheus in, and the series say that one replica leads."""
    query = "/api/v1/namespaces/monitoring/services/prometheus-server:80/proxy/api/v1/query?query="
    leads = f"{query}leader_election_master_status"

    def values() -> list[str]:
        return [each["value"][1] for each in json.loads(cluster.kubectl("get", "--raw", leads))["data"]["result"]]

    settles(values, ["1"], within_s=30)
    assert json.loads(cluster.kubectl("get", TARGET, "-o", "json"))["metadata"]["annotations"]["kubernaut.io/tools"]
