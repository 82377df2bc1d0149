"""Capabilities: what systems can do. One `ask` for all of them, chosen by the last prompt."""
