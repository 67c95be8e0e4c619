"""V1 for servers that speak only V2, and V2 for those that speak only V1: a layer of the sidecar that stands next to one."""
