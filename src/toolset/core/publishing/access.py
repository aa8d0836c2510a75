"""What readers need to reach a tool like the probe: whether they verify its certificate, and credentials."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from toolset.core.candidate import Candidate
from toolset.core.health.http_config import HttpConfig
from toolset.core.publishing.publication import Publication

HttpConfigs = Mapping[str, HttpConfig]
"""By product, how its candidates are reached."""


def prepared(tools: Sequence[Candidate], http_configs: HttpConfigs) -> Sequence[Candidate]:
    """Return ``tools`` with the settings for their readers."""
    if not http_configs:
        return tools
    return [_prepared(tool, http_configs.get(tool.product)) for tool in tools]


def _prepared(tool: Candidate, config: HttpConfig | None) -> Candidate:
    if config is None:
        return tool
    if config.publish_verify is False:
        tool = replace(tool, unverified=True)
    if config.publish_unauthorized is not None:
        tool = replace(tool, check=replace(tool.check, publish_unauthorized=config.publish_unauthorized))
    return tool


def warned(publication: Publication, http_configs: HttpConfigs) -> Publication:
    """Return ``publication`` with a note on each tool whose certificate probes trust but readers may not."""
    notes = dict(publication.notes)
    for tool in publication.tools:
        config = http_configs.get(tool.product)
        if config is None or not config.leaves_readers_failing or tool.scheme != "https":
            continue
        patch = publication.overrides.tools.get(str(tool.key))
        if patch is None or "verify_ssl" not in (patch.holmesgpt or {}):
            notes[tool.key] = "; ".join(filter(None, (notes.get(tool.key), trust_warning(tool.product, config))))
    return replace(publication, notes=notes)


def trust_warning(product: str, config: HttpConfig) -> str:
    """Return a note that readers may not trust what probes trust, and the remedy."""
    setting = f"health.detectors.{product}"
    if config.ca_file:
        return (
            f"probes trust the CA in {setting}.ca_file, and HolmesGPT fails to verify the certificate unless it trusts "
            f"that CA as well; set {setting}.publish_verify to true once it does, or to false to publish "
            "verify_ssl: false"
        )
    return (
        f"{setting}.insecure_skip_verify holds for probes only, and HolmesGPT fails to verify the certificate; set "
        f"{setting}.publish_verify to false to publish verify_ssl: false"
    )
