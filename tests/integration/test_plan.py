"""`toolset plan` shows what would be published, and why, and writes nothing."""

import subprocess
from typing import Final

import msgspec
import pytest
import yaml

from integration.backends import Backends
from integration.cluster import READS, Cluster, Tool, expected_urls, urls_in
from integration.service import TOOLSET, Start, environment, plan
from support.command_line import complaints
from support.waiting import settles

pytestmark = pytest.mark.integration

CUSTOM: Final = {"toolset": "enabled", "toolset-type": "tasks", "toolset-health-path": "/ready"}
TOOLS: Final = (
    Tool("prometheus", "monitoring", "prometheus-server", 80),
    Tool("victoria-metrics", "monitoring", "vm", 8428, labels={"app": "prometheus"}),
    Tool("grafana", "team-a", "grafana", 3000, "service"),
    Tool("jaeger", "team-a", "traces", 16686, "query"),
    Tool("custom", "team-a", "tasks", 3200, annotations=CUSTOM),
    Tool("nothing", "team-a", "jaeger", 16686, "query"),
    Tool("failing", "logging", "elasticsearch", 9200),
)
KEYS: Final = {"grafana-toolset.yaml", "jaeger-toolset.yaml"}
MISTAKE: Final = Tool("nothing", "team-a", "dashboards", 80, annotations={"toolset": "perhaps"})
TABLE: Final = """\
SERVICE                       VERDICT    TYPE           DETAIL
logging/elasticsearch         Unhealthy  elasticsearch  answered 503
monitoring/prometheus-server  published  prometheus
monitoring/vm                 published  prometheus
team-a/grafana                published  grafana
team-a/jaeger                 Unhealthy  jaeger         connection refused or host not found
team-a/tasks                  published  tasks
team-a/traces                 published  jaeger
"""
DIFF: Final = """\
--- /dev/null
+++ planned/tasks-toolset.yaml
@@ -0,0 +1,7 @@
+toolset: tasks
+enabled: true
+config:
+  url: http://tasks.team-a.svc.cluster.local:3200
+  timeout: 30s
+  health_path: /ready
+  type: tasks
"""


def test_a_plan_shows_every_candidate_with_its_verdict_and_the_diff_and_only_reads(
    large_cluster: Cluster, start: Start, backends: Backends
) -> None:
    large_cluster.create(*TOOLS, MISTAKE)
    kubeconfig = large_cluster.kubeconfig()
    settings = {"TOOLSET_TEST_CONNECT_TO": msgspec.json.encode(backends.connect_to(TOOLS)).decode()}
    asked = len(large_cluster.requests())

    planned = plan(kubeconfig, settings)
    manifest = plan(kubeconfig, settings, "--output=yaml")

    assert planned.returncode == 2
    assert planned.stdout.startswith(TABLE)
    assert "\nConfigMap kubernaut-system/kubernaut-toolset-config would change:\n" in planned.stdout
    assert DIFF in planned.stdout
    requests = large_cluster.requests()[asked:]
    assert {event["verb"] for event in requests} <= READS
    assert {event["objectRef"]["resource"] for event in requests} == {"services", "configmaps", "namespaces"}
    assert large_cluster.data() == {}

    start(large_cluster, TOOLS)
    settles(large_cluster.data, yaml.safe_load(manifest.stdout)["data"], within_s=20)
    assert urls_in(large_cluster.data()) == (
        expected_urls("prometheus", TOOLS[:2])
        | {"grafana-toolset.yaml": TOOLS[2].url, "jaeger-toolset.yaml": TOOLS[3].url}
        | {"tasks-toolset.yaml": TOOLS[4].url}
    )
    again = plan(kubeconfig, settings)
    assert again.returncode == 0
    assert again.stdout.startswith(TABLE)
    assert again.stdout.endswith("\nConfigMap kubernaut-system/kubernaut-toolset-config is up to date\n")


def test_what_an_admin_hides_and_moves_is_explained_as_it_is_published(
    large_cluster: Cluster, start: Start, backends: Backends
) -> None:
    del backends
    tools = hidden, moved = TOOLS[2], TOOLS[3]
    large_cluster.create(*tools)
    start(large_cluster, tools)
    settles(lambda: large_cluster.data().keys() & KEYS, KEYS, within_s=20)
    url = "https://traces.example.com:443"
    text = f"suppress: [team-a/{hidden.name}]\ntools: {{team-a/{moved.name}: {{url: '{url}'}}}}"
    large_cluster.edit(**{"overrides.yaml": text})
    settles(lambda: urls_in(large_cluster.data()), {"jaeger-toolset.yaml": url}, within_s=20)

    reported = [_explained(large_cluster, f"team-a/{tool.name}") for tool in tools]

    assert (
        f"team-a/{hidden.name} is not published: an override hides it (overrides.yaml, line 1) [Suppressed]"
        in reported[0]
    )
    assert f"  published at {url} once {moved.url} answers GET /" in reported[1]
    assert "  overrides.yaml, line 2, sets its url\n" in reported[1]


def _explained(cluster: Cluster, service: str) -> str:
    command = [*TOOLSET, "explain", service]
    env = environment(cluster.kubeconfig(), {})
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True).stdout


def test_a_plan_without_an_api_server_says_so_in_one_sentence(large_cluster: Cluster, backends: Backends) -> None:
    del backends
    unused = "https://127.0.0.1:9"  # the discard service, which nobody runs
    broken = large_cluster.plane.audit_log.with_name("broken.kubeconfig")
    broken.write_text(large_cluster.plane.kubeconfig.read_text("utf-8").replace(large_cluster.plane.url, unused))

    planned = plan(str(broken), {})

    assert (planned.returncode, planned.stdout) == (1, "")
    where, problem = complaints(planned.stderr).splitlines()
    assert where == f"toolset: cluster local ({unused}), context local, identity local"
    assert problem.startswith("toolset: the API server did not answer: ")
