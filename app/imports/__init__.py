"""From an uploaded file to a model that can be registered: read in a sandbox, tried on a worker."""
