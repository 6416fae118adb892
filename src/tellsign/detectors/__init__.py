"""Detectors: what each one needs, how it is trained, and how it scores a picture; one module a method."""
