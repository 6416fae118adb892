"""From metrics to tables, figures and the report."""
