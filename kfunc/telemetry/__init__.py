"""Metrics and access lines, written by small encoders of our own: they are on the path of a request."""
