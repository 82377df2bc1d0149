"""What executes a look."""
