import pytest

from toolset.core.candidate import HealthCheck
from toolset.core.detection.checks import (
    ALERTMANAGER_API,
    ELASTICSEARCH_API,
    GRAFANA_API,
    JAEGER_API,
    LOKI_API,
    PROMETHEUS_API,
    TEMPO_API,
    VICTORIALOGS_API,
    ZIPKIN_API,
)
from toolset.core.health.proof import backend_id, is_challenge, is_proven

ROOT = b'{"name": "a", "cluster_name": "logs", "cluster_uuid": "4ebJRnOKQvW7WbwXyAu_Rw", "version": {"number": "8.1"}}'


@pytest.mark.parametrize(
    ("check", "body", "proven"),
    [
        pytest.param(
            PROMETHEUS_API,
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}',
            True,
            id="a query was answered",
        ),
        pytest.param(
            PROMETHEUS_API,
            b'{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[]}}',
            True,
            id="VictoriaMetrics",
        ),
        pytest.param(PROMETHEUS_API, b'{"status":"error","error":"unavailable"}', False, id="a query was refused"),
        pytest.param(PROMETHEUS_API, b'{"status":"success","data":["up"]}', False, id="another API that succeeds"),
        pytest.param(PROMETHEUS_API, b'{"status":"success","data":null}', False, id="no data"),
        pytest.param(PROMETHEUS_API, b"Prometheus Server is Healthy.\n", False, id="a process that lives"),
        pytest.param(PROMETHEUS_API, b"<html>Prometheus Sign in</html>", False, id="a login page"),
        pytest.param(PROMETHEUS_API, b'"status":"success" "resultType":"vector"', False, id="words, and no JSON"),
        pytest.param(PROMETHEUS_API, b'["status=success"]', False, id="a list"),
        pytest.param(PROMETHEUS_API, b"\xff\xfe", False, id="bytes"),
        pytest.param(PROMETHEUS_API, b"[" * 60_000, False, id="deep"),
        pytest.param(GRAFANA_API, b'{\n "database": "ok",\n "version": "11.6.0"\n}', True, id="Grafana"),
        pytest.param(GRAFANA_API, b'{"status":"ok"}', False, id="another health API"),
        pytest.param(
            JAEGER_API, b'{"data":null,"total":0,"limit":0,"offset":0,"errors":null}', True, id="an empty Jaeger"
        ),
        pytest.param(ELASTICSEARCH_API, ROOT, True, id="Elasticsearch"),
        pytest.param(ELASTICSEARCH_API, b'{"cluster_name":"logs","status":"green"}', False, id="not the root API"),
        pytest.param(HealthCheck("/"), b"", True, id="nothing to prove"),
        pytest.param(HealthCheck("/", identity="ready"), b"we are ready", True, id="a text"),
        pytest.param(HealthCheck("/", identity="ready"), b"we are not", False, id="no such text"),
        pytest.param(LOKI_API, b'{"status":"success"}', True, id="a Loki without labels"),
        pytest.param(LOKI_API, b'<p>no "status":"success" here</p>', False, id="a text that holds Loki's words"),
        pytest.param(TEMPO_API, b"echo\n", True, id="Tempo"),
        pytest.param(TEMPO_API, b"<a href=/login?next=/api/echo>", False, id="a page that repeats the request"),
        pytest.param(VICTORIALOGS_API, b'{"values":[]}', True, id="a VictoriaLogs without logs"),
        pytest.param(VICTORIALOGS_API, b"OK", False, id="a proxy that answers OK to everything"),
        pytest.param(ALERTMANAGER_API, b'{"versionInfo":{"version":"0.28.1"}}', True, id="Alertmanager"),
        pytest.param(ALERTMANAGER_API, b'"versionInfo"', False, id="a text that holds Alertmanager's word"),
        pytest.param(ZIPKIN_API, b'{"zipkin":{"version":"3.5.0"}}', True, id="Zipkin"),
        pytest.param(ZIPKIN_API, b"<title>Log in to zipkin</title>", False, id="a login page that names Zipkin"),
    ],
)
def test_an_answer_proves_the_product_or_does_not(check: HealthCheck, body: bytes, proven: bool) -> None:
    assert is_proven(check, body) is proven


@pytest.mark.parametrize(
    ("body", "proven"),
    [
        pytest.param(b' {"data":["a","b"', True, id="its fields come first"),
        pytest.param(b'{"services":["a","b"', False, id="no such field"),
        pytest.param(b'<p>"data":', False, id="no JSON"),
    ],
)
def test_an_answer_that_was_cut_proves_by_its_beginning(body: bytes, proven: bool) -> None:
    assert is_proven(JAEGER_API, body, is_cut=True) is proven


def test_a_whole_body_proves_nothing_where_it_was_cut() -> None:
    assert not is_proven(HealthCheck("/", body="echo"), b"echo", is_cut=True)


def test_a_value_is_looked_for_in_an_answer_that_was_cut() -> None:
    whole = b'{"status": "success", "data": {"resultType": "vector", "result": ['
    assert is_proven(PROMETHEUS_API, whole, is_cut=True)
    assert not is_proven(PROMETHEUS_API, whole.replace(b"vector", b"matrix"), is_cut=True)


@pytest.mark.parametrize(
    ("body", "headers", "own"),
    [
        pytest.param(b'{"error":{"type":"security_exception"}}', (), True, id="Elasticsearch's body"),
        pytest.param(b"", ('Basic realm="security", charset="UTF-8"',), True, id="Elasticsearch's realm"),
        pytest.param(b"Unauthorized", ('Basic realm="OpenSearch Security"',), True, id="OpenSearch's realm"),
        pytest.param(b"Unauthorized", ('Basic realm="proxy"',), False, id="a proxy in front of it"),
        pytest.param(b"RBAC: access denied", (), False, id="a mesh"),
    ],
)
def test_a_challenge_is_the_products_own_or_anothers(body: bytes, headers: tuple[str, ...], own: bool) -> None:
    assert is_challenge(ELASTICSEARCH_API, body, headers) is own
    assert is_challenge(PROMETHEUS_API, body, headers)  # which has no challenge of its own


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(ROOT, "4ebJRnOKQvW7WbwXyAu_Rw", id="a cluster"),
        pytest.param(b'{"cluster_uuid": "_na_"}', "", id="a cluster that has not formed"),
        pytest.param(b'{"cluster_uuid": 7}', "", id="no text"),
        pytest.param(b'{"cluster_uuid": "{{ env.KEY }}"}', "", id="not well-formed"),
        pytest.param(b'{"cluster_uuid": "%s"}' % (b"a" * 65), "", id="too long"),
        pytest.param(b"{}", "", id="absent"),
    ],
)
def test_the_name_of_a_backend_is_taken_when_it_is_well_formed(body: bytes, named: str) -> None:
    assert backend_id(ELASTICSEARCH_API, body) == named
    assert backend_id(PROMETHEUS_API, body) == ""
