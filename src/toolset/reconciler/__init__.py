"""Reconcilers of Services, health probes and the target ConfigMap, and the ports they need.

The Service reconciler never waits; the probe reconciler waits for a backend, the target reconciler for the API server.
Each has its own queue, so that a slow backend delays neither detection nor publishing.
"""
