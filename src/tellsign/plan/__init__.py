"""What depends on what, and where it lives."""
