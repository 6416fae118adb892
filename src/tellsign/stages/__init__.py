"""One module a stage: the twin of the Snakemake rule and of the CLI subcommand of the same name."""
