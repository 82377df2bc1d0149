"""Training: labelled cases, samples of them, and the one loop."""
