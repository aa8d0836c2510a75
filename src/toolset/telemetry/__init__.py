"""Logs, metrics, traces and Kubernetes Events of the running service."""
