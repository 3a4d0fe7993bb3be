"""Webhooks: telling somebody's server that a job, a training or an evaluation has ended."""
