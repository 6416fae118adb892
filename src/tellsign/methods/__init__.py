"""What defines each paper."""
