"""The same generator behind other servers, each in an environment of its own."""
