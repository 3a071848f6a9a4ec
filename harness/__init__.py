"""Drives any benchmark with any model, turn by turn, and makes numbers of what happened; knows no benchmark by name."""
