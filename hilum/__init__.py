"""hilum: one door to the foundation models of medical imaging."""
