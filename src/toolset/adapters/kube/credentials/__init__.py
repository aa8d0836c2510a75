"""API server credentials: in-cluster or from a kubeconfig, renewed before they expire."""
