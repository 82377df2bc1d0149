"""Pinned files under tags, renamed strictly."""
