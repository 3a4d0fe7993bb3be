"""Training of the architectures: small, real, resumable to the bit."""
