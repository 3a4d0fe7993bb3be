"""HTTP only: one file a resource, its request and response types beside it."""
