"""Whether a generator does what its spec says, and whether what it makes is worth serving."""
