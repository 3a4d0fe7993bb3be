"""`make bench`: figures, each a ratio of things measured in one run."""
