"""The kubernaut dialect: one small YAML document for each tool, every instance kept.

The first instance of a type has the key ``TYPE-toolset.yaml``; each further one carries its namespace and name, so
that no instance overwrites another and a single instance keeps the key that readers know.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import yaml

from toolset.core.verdict import Candidate

KUBERNETES_KEY: Final = "kubernetes-toolset.yaml"
QUERY_TIMEOUT: Final = "30s"
_EXTRAS: Final[Mapping[str, Mapping[str, str]]] = {
    "jaeger": {"query_endpoint": "/api/traces"},
    "elasticsearch": {"health_endpoint": "/_cluster/health"},
    "prometheus": {},
    "grafana": {},
}


def render(tools: Sequence[Candidate], grafana_key_env: Mapping[str, str]) -> dict[str, str]:
    """Return the documents by ConfigMap key.

    Args:
        tools: In the order of ``findings.instances``.
        grafana_key_env: For ``namespace/name`` of a Grafana, the environment variable of the reader that holds its
            API key; only settings name one, never a Service.
    """
    documents = {KUBERNETES_KEY: _document("kubernetes", {"incluster": True, "namespaces": ["*"]})}
    seen: set[str] = set()
    for tool in tools:
        key = f"{tool.type}.{tool.key.namespace}.{tool.key.name}" if tool.type in seen else tool.type
        seen.add(tool.type)
        documents[f"{key}-toolset.yaml"] = _document(tool.type, _config(tool, grafana_key_env))
    return documents


def _config(tool: Candidate, grafana_key_env: Mapping[str, str]) -> dict[str, object]:
    variable = grafana_key_env.get(str(tool.key)) if tool.type == "grafana" else None
    if variable:  # readers know a Grafana with a key without a timeout
        return {"url": tool.url, "apiKey": f"${{{variable}}}"}
    extras = _EXTRAS.get(tool.type, {"health_path": tool.check.path, "type": tool.type})
    return {"url": tool.url, "timeout": QUERY_TIMEOUT, **extras}


def _document(name: str, config: Mapping[str, object]) -> str:
    content = {"toolset": name, "enabled": True, "config": dict(config)}
    text = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, width=2**16)
    assert isinstance(text, str)  # noqa: S101 - without a stream yaml returns text; its types say Any
    return text
