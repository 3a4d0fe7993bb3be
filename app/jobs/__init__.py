"""From a request to a finished dataset: plan, lifecycle, shards, finalization."""
