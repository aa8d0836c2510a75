"""Whether a candidate is healthy, and which losses are held."""
