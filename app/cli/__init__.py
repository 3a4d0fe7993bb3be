"""The `synthloom` command: one file a group of commands."""
