"""Where the time of a worker goes, step by step: sampled, small enough to keep, comparable with an earlier time."""
