"""The HTTP core that handler and sidecars share: server protocol, reverse proxy, upstream pool."""
