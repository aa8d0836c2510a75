"""What the running service reports: logs, metrics, traces and Kubernetes Events."""
