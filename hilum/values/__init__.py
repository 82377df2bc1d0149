"""Values: what the house speaks of. Numpy only; no files, no networks."""
