"""gRPC in front of an application of REST: a call is asked there in its place, and the answer goes back as messages.

Where the calls come in (`front.py`), it is decoded once: what travels on is a V2 request like any other. Knows no model.
"""
