"""What at least two of the three programs must agree on, and nothing else."""
