"""The Synthloom service: API, jobs, workers, datasets and their archives."""
