"""Commands for people. Each has a `main`, whose parameters become flags and which returns the exit status."""
