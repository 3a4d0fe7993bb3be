"""Tasks of the sandbox that behave as a child would that a file has taken over."""
