"""From tools to the content of the ConfigMap."""
