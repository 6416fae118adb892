"""Commands for people; each has a `main` whose flags the command line reads, and returns the exit status."""
