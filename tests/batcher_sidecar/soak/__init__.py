"""Mixed requests through a real batcher in front of a server with faults: each answer is compared with what was sent."""
