"""Losses from the papers."""
