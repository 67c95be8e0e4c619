"""Tests on a real cluster: `make e2e`. Nothing here runs with `make test`."""
