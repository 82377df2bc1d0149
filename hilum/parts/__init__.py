"""Inventions that several systems share."""
