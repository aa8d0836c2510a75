"""The status: one bounded snapshot of what is published, what is not and why, and what is wrong."""
