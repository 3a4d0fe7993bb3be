"""A stranger's checkpoint becomes plain tensors: what the file is, the sandbox, the proposal."""
