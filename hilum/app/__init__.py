"""What a user touches: read, load, ask, write."""
