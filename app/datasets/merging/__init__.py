"""Real images beside the samples of a job: their names, their rows, and their files."""
