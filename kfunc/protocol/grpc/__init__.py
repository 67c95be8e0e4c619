"""gRPC: messages ↔ the core's requests and answers, framing, statuses, metadata. Sans-IO.

Protocol Buffers are read and written here and not by their library: no copy of raw tensors, nothing to import
at the start, and less time for each call (docs/grpc.md). The tests hold it against the library.
"""
