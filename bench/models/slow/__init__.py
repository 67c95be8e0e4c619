"""A model with a price."""
