"""From names and shapes of tensors to a spec: what is certain, and candidates for what is not."""
