"""Webhooks: telling somebody's server that a job has ended."""
