"""What the real HolmesGPT makes of an Elasticsearch that asks for credentials which nobody configured.

It decides the default of ``publish_unauthorized`` (ADR 25): one that refuses is reported, and takes no other down.
"""

import msgspec
import pytest

from consumer.answers import Backend, Server
from consumer.holmes import Call, Holmes
from support.build import candidate
from toolset.core.candidate import Candidate
from toolset.core.detection.checks import ELASTICSEARCH_API
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(120)]

LOCKED = Backend("elasticsearch", authorization="Basic nobody-knows")


def elasticsearch(name: str, *, unauthorized: bool = False) -> Candidate:
    found = candidate(name, tool_type="elasticsearch")
    return msgspec.structs.replace(found, check=ELASTICSEARCH_API, unauthorized=unauthorized)


def authority(tool: Candidate) -> str:
    return f"{tool.host}:{tool.port}"


def test_one_that_refuses_alone_is_reported_as_failed(holmes: Holmes, plain: Server) -> None:
    locked = elasticsearch("locked", unauthorized=True)
    plain.put({authority(locked): LOCKED})
    found = publish([locked], OutputOptions(dialects=("holmesgpt",)))
    loaded = holmes.load(found.data[DOCUMENT_KEY], connect_to={authority(locked): plain.address})
    assert loaded.error is None
    toolset = loaded.toolset("elasticsearch/data")
    assert toolset.status == "failed"
    assert "authentication" in (toolset.error or "")
    assert loaded.toolset("kubernetes/core").status == "enabled"


def test_one_that_refuses_leaves_the_others_usable(holmes: Holmes, plain: Server) -> None:
    locked, usable = elasticsearch("locked", unauthorized=True), elasticsearch("usable")
    plain.put({authority(locked): LOCKED, authority(usable): Backend("elasticsearch")})
    found = publish([locked, usable], OutputOptions(dialects=("holmesgpt",)))
    call: Call = ("elasticsearch/cluster", "elasticsearch_cluster_health", {"instance": "monitoring-usable"})
    connect_to = {authority(tool): plain.address for tool in (locked, usable)}
    loaded = holmes.load(found.data[DOCUMENT_KEY], connect_to=connect_to, calls=[call])
    toolset = loaded.toolset("elasticsearch/cluster")
    assert toolset.status == "enabled", toolset.error
    assert {each.name: each.healthy for each in toolset.instances} == {
        "monitoring-locked": False,
        "monitoring-usable": True,
    }
    assert [answer.status for answer in loaded.calls] == ["success"], loaded.calls
