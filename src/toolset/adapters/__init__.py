"""I/O: clients and servers, one vendor library each, independent of each other."""
