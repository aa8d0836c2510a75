"""Writes to the API server: the ConfigMap, the Lease, Events, and restarts of a Deployment."""
