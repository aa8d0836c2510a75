"""The outside world, one vendor library in each module; adapters do not know each other."""
