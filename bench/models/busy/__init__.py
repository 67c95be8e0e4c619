"""A model that computes."""
