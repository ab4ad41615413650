"""The lower half of the dashboard *Pipeline*: the workers, and the Kafka and Redis below them."""

from __future__ import annotations

from deploy.grafana.ask import NO_WORKER, RATE, counted
from deploy.grafana.board import Row
from deploy.grafana.colours import ONE_IS_WELL, alarm
from deploy.grafana.panels import Ask, Says, figure, lines

WORKERS = Row(
    "Workers",
    7,
    [
        figure(
            4,
            Says(
                "Workers",
                "Workers that Prometheus reads. Fewer than you started: see the missing one's log.",
                "short",
                "No worker is read",
            ),
            "count(orgpulse_build_info)",
        ),
        figure(
            4,
            Says(
                "Partitions nobody owns",
                "Partitions of the log of activities less those that some worker owns. Above 0 for more than a takeover"
                " takes (seconds): too few workers are alive, or recovery does not end.",
                "short",
                NO_WORKER,
            ),
            "clamp_min(max(orgpulse_partitions) - sum(orgpulse_partitions_owned), 0)",
            alarm(1),
        ),
        lines(
            8,
            Says(
                "Partitions owned, by worker",
                "They should lie close together. One worker with none is one too many, or cannot join.",
                "short",
                NO_WORKER,
            ),
            Ask("sum by (instance) (orgpulse_partitions_owned)", "{{instance}}"),
            stacked=True,
            low=0,
        ),
        lines(
            8,
            Says(
                "Changes of ownership and restarts",
                "How often partitions changed hands, and processes began anew after a failure, since the last point."
                " Again and again: see the workers' logs, and whether a session timeout is too short.",
                "short",
                NO_WORKER,
            ),
            Ask(f"sum by (instance) (increase(orgpulse_rebalances_total{RATE}))", "rebalances {{instance}}"),
            Ask("sum by (instance) (orgpulse_restarts_total)", "restarts so far {{instance}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Recovery",
                "How long the last recovery took, and whether one is under way (1). Dashed: a minute. Longer: shorten"
                " `[checkpoint] every_seconds`, so that less of the log has to be applied.",
                "s",
                NO_WORKER,
            ),
            Ask("max by (instance) (orgpulse_recovery_duration_seconds)", "last, {{instance}}"),
            Ask("max by (instance) (orgpulse_recovering)", "under way, {{instance}}"),
            steps=alarm(60),
            low=0,
        ),
        lines(
            8,
            Says(
                "State written to the changelog",
                "Bytes of checkpoints a second. Much of it with little input: lengthen `[checkpoint] every_seconds`.",
                "Bps",
                NO_WORKER,
            ),
            Ask(f"sum(rate(orgpulse_checkpoint_bytes_total{RATE}))", "all workers"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Damaged state",
                "Checkpoints that were not whole (mended by folding anew), and rows that could not be read and were set"
                " aside. Anything above 0: see the log, and the disks of Kafka.",
                "short",
                "None",
            ),
            Ask("sum(orgpulse_state_damaged_total)", "checkpoints"),
            Ask("sum by (table) (orgpulse_state_quarantined_total)", "rows of {{table}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Series by worker",
                "Series that a worker shows, and the number it may. Near the limit: lower `[metrics] org_limit`.",
                "short",
                NO_WORKER,
            ),
            Ask("max by (instance) (orgpulse_series)", "{{instance}}"),
            Ask("min(orgpulse_series_limit)", "limit"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Directory and population",
                "Users that the directory knows, and active users from whom the cut points were taken. A fall at once:"
                " somebody published an empty directory.",
                "short",
                NO_WORKER,
            ),
            Ask("max(orgpulse_directory_users)", "directory"),
            Ask("max(orgpulse_population_users)", "population"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Drift of the population",
                "How far decile ranks by the present cut points lie from those of one to two weeks ago, of the five"
                " attributes that moved most. Above 0.1 (dashed) scores changed because everybody did.",
                "percentunit",
                "Known after a week",
            ),
            Ask("topk(5, max by (attribute) (orgpulse_population_drift_ratio))", "{{attribute}}"),
            steps=alarm(0.1),
            low=0,
        ),
    ],
)

SERVERS = Row(
    "Kafka and Redis",
    7,
    [
        figure(
            4,
            Says(
                "Kafka",
                "Whether Kafka answers and takes writes, as the worker sees it that fares worst. Away: start it;"
                " workers wait, nothing is lost.",
                "bool",
                NO_WORKER,
            ),
            "min(orgpulse_kafka_up)",
            ONE_IS_WELL,
            texts={"0": "away", "1": "well"},
        ),
        figure(
            4,
            Says(
                "Redis",
                "Whether Redis takes writes, as the worker sees it that fares worst. Away: start it; writes wait in the"
                " workers, then everything is told again.",
                "bool",
                NO_WORKER,
            ),
            "min(orgpulse_redis_up)",
            ONE_IS_WELL,
            texts={"0": "away", "1": "well"},
        ),
        lines(
            8,
            Says(
                "Kafka: brokers, outages and retries",
                "Brokers that are there, and since the last point: times Kafka was away, what was tried again (look:"
                " is it there? transaction: aborted and begun again). Transactions again and again: see the brokers'"
                " logs.",
                "short",
                NO_WORKER,
            ),
            Ask("min(orgpulse_kafka_brokers)", "brokers"),
            Ask(f"sum(increase(orgpulse_kafka_outages_total{RATE}))", "outages"),
            Ask(counted("orgpulse_kafka_retries_total", "what"), "tried again: {{what}}"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Redis: writes that wait",
                "Writes that wait in the workers. Growing: Redis is away or too slow. At the limit the oldest are"
                " dropped, and everything is told again afterwards.",
                "short",
                NO_WORKER,
            ),
            Ask("sum(orgpulse_redis_pending_writes)", "waiting"),
            Ask(f"sum(increase(orgpulse_redis_dropped_writes_total{RATE}))", "dropped"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Redis: writes by outcome",
                "Writes a second: applied, repeated (the same again, harmless), spoiled (the key was of another type),"
                " fenced (refused: a newer one was there). Fenced for long: a worker lives on that should not.",
                "cps",
                NO_WORKER,
            ),
            Ask(f"sum by (outcome) (rate(orgpulse_redis_writes_total{RATE}))", "{{outcome}}"),
            Ask(f"sum(rate(orgpulse_redis_fenced_writes_total{RATE}))", "fenced"),
            low=0,
        ),
        lines(
            8,
            Says(
                "Redis: failed attempts",
                "Attempts to write that failed, by kind, in the time between two points. out of memory: raise"
                " `maxmemory`; denied or read-only: see the account and the address in `[redis] url`.",
                "short",
                "No attempt has failed",
            ),
            Ask(counted("orgpulse_redis_errors_total", "kind"), "{{kind}}"),
            bars=True,
            low=0,
        ),
        lines(
            8,
            Says(
                "Redis: telling everything again",
                "How much of everything Redis has been told again by the worker that is furthest behind; 100 % ="
                " nothing is due. It drops when Redis was replaced or flushed and should climb back by itself.",
                "percentunit",
                NO_WORKER,
            ),
            Ask("min(orgpulse_redis_resync_ratio)", "told"),
            low=0,
            high=1,
        ),
    ],
)
