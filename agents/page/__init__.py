"""The page that every worker serves, and the JSON API behind it."""
