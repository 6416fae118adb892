"""One module for each stage. Its Snakemake rule and its command, `tellsign STAGE`, have the same name."""
