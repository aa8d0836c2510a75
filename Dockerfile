# Any image with Python 3.11 or newer and its venv module. Pin it by digest for a release: BASE=NAME@sha256:DIGEST
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/toolset
WORKDIR /src
COPY requirements/build.txt requirements/image.txt requirements/image-mcp.txt requirements/
# 1 adds what `status.mcp` needs.
ARG MCP=
# pip's settings and certificates are the builder's, and secrets: they are in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    /pip/bin/pip install --require-hashes --no-deps -r requirements/build.txt && \
    /pip/bin/pip --python /opt/toolset/bin/python install --require-hashes --no-deps \
      -r "requirements/image${MCP:+-mcp}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /pip/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . && \
    /pip/bin/pip --python /opt/toolset/bin/python install --no-index --no-deps /wheels/*.whl

# What is in the image, in CycloneDX: Python's packages with their licences, and the base's.
FROM build AS sbom
COPY requirements/sbom.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    /pip/bin/pip install --require-hashes --no-deps -r requirements/sbom.txt
COPY hack/image/sbom.py hack/image/
RUN /pip/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file /python.cdx.json \
      /opt/toolset/bin/python && \
    /pip/bin/python hack/image/sbom.py </python.cdx.json >/sbom.cdx.json

FROM ${BASE}
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kubernaut-dynamic-toolset" \
      org.opencontainers.image.description="Watches a Kubernetes cluster for observability backends and keeps one ConfigMap of toolsets up to date." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# What installs packages is of no use here, except to an intruder.
RUN rm -rf /usr/lib/python3*/ensurepip /usr/share/python-wheels \
           /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages /usr/local/bin/pip*
COPY --from=build /opt/toolset /opt/toolset
COPY --from=sbom /sbom.cdx.json /opt/toolset/
ENV PATH=/opt/toolset/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["toolset"]
CMD ["run"]
