"""Raw data to example table to shards to batches."""
