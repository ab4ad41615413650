"""Owns what takes data in from outside while it happens: webhooks over HTTP, syslog over UDP, TCP and TLS.

Invariant: nothing is acknowledged before Kafka has it on all in-sync replicas, and what is accepted goes on as it came:
the workers' readers judge it, so bad input has one way to the dead letters.
"""
