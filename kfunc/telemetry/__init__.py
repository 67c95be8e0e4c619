"""Metrics, traces and log lines, written by small encoders of our own: they are on the path of a request.

Knows requests (`http`), settings (`config`) and gRPC's wire format (`protocol`); no model, no sidecar, no page.
"""
