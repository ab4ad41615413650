"""The small job on other engines, on the same topic of the same broker, each result checked before its time counts."""
