"""From scores to metrics, and what a detector looks at."""
