"""Owns reading foreign files: one reader per kind of file, each turning rows into messages of the contract.

Invariant: a reader yields exactly one `Row` per row of its file, in the file's order and the same ones every time, so
that "row 4,711" means the same after a restart; and it never holds more than one row.

What becomes of a bad row: whatever can be put into a message is sent as it is, so that the system's own dead letters
see and count it. Held back are only the rows that Kafka would not carry (over the size limit) or that CSV can't split.
"""
