"""What surrounds a computation and cannot change its numbers."""
