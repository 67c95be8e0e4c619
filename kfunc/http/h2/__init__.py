"""HTTP/2 (RFC 9113) behind the interface of `kfunc.http.exchange`, with prior knowledge, on HTTP/1.1's port.

`connection.py` alone has a transport; the rest is sans-IO: bytes and `now` in, events, answers' bytes and faults out.
Knows no application, no model and nothing of gRPC but its content type. Imported with the first connection that needs it.
"""
