"""Layers that no library has."""
