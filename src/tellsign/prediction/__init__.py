"""A person's own pictures: found, scored by trained detectors through the pipeline's code, and told about."""
