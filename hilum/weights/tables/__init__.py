"""Upstream names <-> library names."""
