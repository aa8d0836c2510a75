"""The overrides in `overrides.yaml`, and what the ConfigMap already publishes."""
