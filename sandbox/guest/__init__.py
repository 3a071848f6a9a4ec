"""Runs inside the box: standard library only, sent in as text, the same behind every wall."""
