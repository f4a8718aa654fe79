"""A whole experiment from one plan: its steps, which Snakemake runs on one machine or on a cluster."""
