"""The content of the ConfigMap: rendering, size limits, and the change to apply."""
