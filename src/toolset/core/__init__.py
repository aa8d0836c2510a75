"""Pure decisions: which Service is which tool, what to publish, what to change.

Nothing here waits, reads a clock, logs or does I/O. Every function maps values to values, so tests are tables and
properties.
"""
