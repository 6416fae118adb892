"""Artifacts between clones: DVC, and the links in results/."""
