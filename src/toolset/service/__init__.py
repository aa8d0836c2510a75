"""The long-running process: startup and shutdown, leadership, informers, the reconcile pipeline."""
