"""Health thresholds, the brake on mass removals, and the HTTP options of a probe."""
