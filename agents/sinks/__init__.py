"""Optional sinks: history in PostgreSQL and as Parquet files, from Kafka (docs/sinks.md).

    weeks, scores, product-events, users, orgs, identities ─► read_* ─► store ─► then the offsets

Owns processes of their own, each kind with its own consumer group. Invariant: offsets move on only after the store has
committed, and the store itself knows up to where it holds each partition: a repeated chunk changes nothing.
"""
