"""Measurement, side by side, in one run."""
