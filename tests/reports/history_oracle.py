"""The reports' tables computed by another engine from the raw rows: DuckDB's SQL over activity log and transactions.

Invariant: nothing of `reports` is imported; only the frames' names of columns are the same.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd

_NORMAL = 1.959963984540054
_BANDS = ("1–10", "11–20", "21–30", "31–40", "41–50", "over 50")
_BAND_COLUMNS = ("users_1_10", "users_11_20", "users_21_30", "users_31_40", "users_41_50", "users_over_50")

_VIEWS = """
create table acts as
  select org::varchar as org, userid::varchar as usr, date_trunc('week', make_timestamp(created * 1000000))::date as
  mon,
         count(*)::bigint as n
  from activity where ghost = 0 and org <> 0 group by all;
create table trades as
  select org::varchar as org, date_trunc('week', make_timestamp(date * 1000000))::date as mon, count(*)::bigint as c,
         sum(amount_cents)::bigint as v
  from transactions where status = 'A' group by all;
create table span as select min(m)::date as a, max(m)::date as z from
  (select mon as m from acts union all select mon from trades);
create table weeks as
  select coalesce(a.org, t.org) as org, coalesce(a.mon, t.mon) as mon, coalesce(n, 0)::bigint as n,
         coalesce(u, 0)::bigint as u, coalesce(c, 0)::bigint as c, coalesce(v, 0)::bigint as v, t.org is not null as
         traded
  from (select org, mon, sum(n) as n, count(*) as u from acts group by all) a
  full join trades t on a.org = t.org and a.mon = t.mon;
create macro band(x) as case when x <= 10 then 0 when x <= 20 then 1 when x <= 30 then 2 when x <= 40 then 3
  when x <= 50 then 4 else 5 end;
create table people as
  select org, usr, sum(n)::bigint as n, count(*)::bigint as w, (date_diff('day', min(mon), max(mon)) // 7 + 1)::bigint
  as life,
         sum(n) / count(*) as m, median(n)::double as md
  from acts group by all;
create table orgs as
  select coalesce(p.org, t.org) as org, coalesce(users, 0)::bigint as users, coalesce(n, 0)::bigint as activities,
         coalesce(mean, 0)::double as activities_mean, coalesce(med, 0)::double as activities_median,
         {counted}, coalesce(tw, 0)::bigint as transactions_weeks, coalesce(c, 0)::bigint as transactions_count,
         coalesce(v, 0)::bigint as transactions_cents
  from (select org, count(*) as users, sum(n) as n, sum(n) / count(*) as mean, median(n) as med, {bands}
        from people group by org) p
  full join (select org, count(*) as tw, sum(c) as c, sum(v) as v from trades group by org) t on p.org = t.org;
""".format(
    bands=", ".join(f"count(*) filter (band(m) = {n}) as b{n}" for n in range(6)),
    counted=", ".join(f"coalesce(b{n}, 0)::bigint as {name}" for n, name in enumerate(_BAND_COLUMNS)),
)


class Oracle:
    """The raw rows of a base in DuckDB."""

    def __init__(self, activity: pd.DataFrame, transactions: pd.DataFrame, scores: pd.DataFrame) -> None:
        """Take the raw rows, and `org`, `mon` (date), `score` (percent) of org-weeks with a score."""
        self._db = duckdb.connect()
        self._db.execute("set threads = 2")
        for name, frame in (("activity", activity), ("transactions", transactions), ("scores", scores)):
            self._db.register(name, frame)
        self._db.execute(_VIEWS)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._db.execute(query).fetchall()

    def totals(self) -> list[tuple[Any, ...]]:
        return list(
            zip(
                (
                    "weeks", "orgs with an activity", "users with an activity", "pairs of org and user",
                    "user-weeks with an activity", "org-weeks with an activity", "orgs with a transaction",
                    "org-weeks with a transaction", "activities", "transactions", "volume",
                ),
                self.rows("""
                    select (select date_diff('day', a, z) // 7 + 1 from span), (select count(distinct org) from acts),
                    (select count(distinct usr) from acts), (select count(*) from (select distinct org, usr from acts)),
                    (select count(*) from acts), (select count(*) from (select distinct org, mon from acts)),
                    (select count(distinct org) from trades), (select count(*) from trades),
                    (select count(*) from activity where ghost = 0 and org <> 0),
                    (select count(*) from transactions where status = 'A'),
                    (select sum(amount_cents)::bigint from transactions where status = 'A')""")[0],
                strict=True,
            )
        )  # fmt: skip

    def averages(self) -> list[tuple[Any, ...]]:
        parts = (
            ("users per org", "users", "orgs where users > 0"), ("activities per org and user", "n", "people"),
            ("weeks with an activity per org and user", "w", "people"),
            ("active users per org and week", "u", "weeks where u > 0"),
            ("transactions per org and week", "c", "trades"), ("volume per org and week", "v", "trades"),
        )  # fmt: skip
        return [
            (name, *self.rows(f"select count(*), sum({x}) / count(*), median({x})::double from {whence}")[0])
            for name, x, whence in parts
        ]

    def weeks(self) -> list[tuple[Any, ...]]:
        return self.rows("""
            select strftime(mon, '%G-W%V'), strftime(mon, '%Y-%m-%d'), count(*) filter (n > 0), sum(u)::bigint,
                   sum(n)::bigint, count(*) filter (traded), sum(c)::bigint, sum(v)::bigint, avg(score)
            from weeks left join scores using (org, mon) group by mon order by mon""")

    def users(self) -> list[tuple[Any, ...]]:
        names = ", ".join(f"'{name}'" for name in _BANDS)
        return self.rows(
            f"select org, usr, n, w, life, m, md, [{names}][band(n) + 1] from people order by n desc, org, usr"
        )

    def orgs(self) -> list[tuple[Any, ...]]:
        return self.rows("from orgs order by transactions_cents desc, transactions_count desc, org")

    def lifetime_bands(self) -> list[tuple[Any, ...]]:
        return self.rows("""
            select sum(w) / count(*), median(w)::double, sum(life) / count(*), median(life)::double, count(distinct
            org),
                   count(*), count(*) / (select count(*) from people)
            from people group by band(n) order by band(n)""")

    def active_bands(self) -> list[tuple[Any, ...]]:
        found = []
        for who, where in (("both", "u > 0 and traded"), ("either", "true")):
            found += self.rows(f"""
                select '{who}', count(distinct org), count(*), sum(c) / count(*), median(c)::double, sum(v) / count(*),
                       median(v)::double
                from (select *, case when u <= 1 then 0 when u <= 4 then 1 when u <= 7 then 2 when u <= 10 then 3 else 4
                      end as b from weeks where {where}) group by b order by b""")
        return found

    def users_by_band(self) -> list[tuple[Any, ...]]:
        found = []
        for who, where in (("both", "users > 0 and transactions_count > 0"), ("either", "true")):
            for name, column in zip(_BANDS, _BAND_COLUMNS, strict=True):
                found += self.rows(f"""
                    select '{who}', '{name}', count(*), count(*) filter ({column} > 0), sum({column})::bigint,
                           avg({column}), median({column})::double, sum({column}) / sum(users)
                    from orgs where {where}""")
        return found

    def quartiles(self) -> list[tuple[Any, ...]]:
        ((values, count),) = self.rows("""
            select quantile_cont(transactions_cents::double, [0.25, 0.5, 0.75]), count(*) from orgs
            where transactions_count > 0""")
        return [(value, count) for value in values]

    def profiles(self) -> list[tuple[Any, ...]]:
        means = ", ".join(f"avg({name})" for name in ("users", *_BAND_COLUMNS))
        return self.rows(f"""
            with q as (select quantile_cont(transactions_cents::double, [0.25, 0.5, 0.75]) as q from orgs
                       where transactions_count > 0)
            select count(*), {means}, avg(transactions_count), median(transactions_count)::double,
                   sum(transactions_cents) / count(*), median(transactions_cents)::double, avg((users > 0)::int)
            from (select *, (transactions_cents > q[1])::int + (transactions_cents > q[2])::int
                  + (transactions_cents > q[3])::int as quarter from orgs, q where transactions_count > 0)
            group by quarter order by quarter""")

    def org_correlations(self) -> list[tuple[Any, ...]]:
        names = (
            ("users", "users"), ("mean activities", "activities_mean"), ("median activities", "activities_median"),
            ("transactions", "transactions_count"), ("volume", "transactions_cents"),
        )  # fmt: skip
        looks = []
        for where in ("users > 0 and transactions_count > 0", "true"):
            for at, (_, x) in enumerate(names):
                looks += [f"select {x} as x, {y} as y, org from orgs where {where}" for _, y in names[at + 1 :]]
        return self._coefficients(looks)

    def band_correlations(self) -> list[tuple[Any, ...]]:
        return self._coefficients(
            [
                f"select {x} as x, {y} as y, org from orgs where {where}"
                for where in ("users > 0 and transactions_count > 0", "true")
                for x in _BAND_COLUMNS
                for y in ("transactions_count", "transactions_cents")
            ]
        )

    def org_week_correlations(self) -> list[tuple[Any, ...]]:
        after = """(select coalesce(a.org, b.org) as org, coalesce(a.n, 0) as n, coalesce(b.c, 0) as c,
            coalesce(b.v, 0) as v, coalesce(b.traded, false) as traded
            from (select * from weeks, span where mon < z) a full join (select weeks.* from weeks, span where mon > a) b
            on a.org = b.org and a.mon + interval 7 day = b.mon)"""
        looks = []
        for same, following in (("n > 0 and traded", "n > 0 and traded"), ("true", "n > 0 or traded")):
            looks += [f"select n as x, {y} as y, org from weeks where {same}" for y in "cv"]
            looks += [f"select n as x, {y} as y, org from {after} where {following}" for y in "cv"]
        return self._coefficients(looks, by_org=True)

    def active_correlations(self) -> list[tuple[Any, ...]]:
        return self._coefficients(
            [
                f"select {x} as x, {y} as y, org from weeks where {where}"
                for where in ("u > 0 and traded", "true")
                for x, y in (("u", "c"), ("u", "v"), ("c", "v"))
            ],
            by_org=True,
        )

    def lead_lag(self, lags: int = 9) -> list[tuple[Any, ...]]:
        """Return form, outcome, lag, n, orgs, r, its ends, falls, share with fewer after, rises, share."""
        self._db.execute("""
            create or replace table grid as
            with begun as (select org, min(mon) as b from weeks where org in (select org from trades)
                           and org in (select org from scores) group by org)
            select begun.org, ((m - a) // 7)::int as w, score as s, coalesce(c, 0) as c, coalesce(v, 0) as v
            from begun, span, (select distinct mon as m from weeks) d
            left join weeks on weeks.org = begun.org and weeks.mon = m
            left join scores on scores.org = begun.org and scores.mon = m where m >= b""")
        self._db.execute(f"""
            create or replace table pairs as
            with before as (select g.*, p.s as ps, p.c as pc, p.v as pv from grid g left join grid p
                            on p.org = g.org and p.w = g.w - 1),
            lagged as (select k as lag, a.org, a.w, a.s, a.ps, a.pc as before_c, b.c, b.v, b.pc, b.pv
                       from range({lags}) r(k), before a, before b where a.org = b.org and b.w = a.w + k and a.s is
                       not null)
            select 'change' as form, 'transactions' as outcome, lag, org, w, s - ps as x, c - pc as y from lagged
              where ps is not null
            union all select 'change', 'volume', lag, org, w, s - ps, v - pv from lagged where ps is not null
            union all select 'level', 'transactions', lag, org, w, s, c from lagged
            union all select 'level', 'volume', lag, org, w, s, v from lagged""")
        self._db.execute("""
            create or replace table ranked as
            select form, outcome, lag, org, w, m,
              (rank() over (partition by form, outcome, lag, w order by x)
               + (count(*) over (partition by form, outcome, lag, w, x) - 1) / 2 - (m + 1) / 2) / m as x,
              (rank() over (partition by form, outcome, lag, w order by y)
               + (count(*) over (partition by form, outcome, lag, w, y) - 1) / 2 - (m + 1) / 2) / m as y
            from (select *, count(*) over (partition by form, outcome, lag, w) as m from pairs) where m > 1""")
        moves = f"""
            select lag, count(*) filter (s < ps) as falls, avg((c < before_c)::int) filter (s < ps) as ff,
                   count(*) filter (s > ps) as rises, avg((c < before_c)::int) filter (s > ps) as fr
            from (select k as lag, a.s, p.s as ps, p.c as before_c, b.c from range({lags}) r(k), grid a, grid p, grid b
                  where p.org = a.org and p.w = a.w - 1 and b.org = a.org and b.w = a.w + k) group by lag"""
        return self.rows(f"""
            with {self._leave_one_out("ranked", "form, outcome, lag")},
            whole as (select form, outcome, lag, count(*) as n, count(distinct org) as orgs, corr(x, y) as r from ranked
                      group by all),
            moves as ({moves})
            select form, outcome, lag::bigint, n, orgs, r, tanh(atanh(r) - {_NORMAL} * se), tanh(atanh(r) + {_NORMAL}
            * se),
                   falls, ff, rises, fr
            from whole join errors using (form, outcome, lag) join moves using (lag) order by form, outcome, lag""")

    def _coefficients(self, looks: list[str], *, by_org: bool = False) -> list[tuple[Any, ...]]:
        """Return n, orgs, and of Pearson and Spearman the value and its ends, with *by_org* the ends by org too."""
        each = " union all ".join(
            f"select {n} as look, x::double as x, y::double as y, org from ({q})" for n, q in enumerate(looks)
        )
        self._db.execute(f"create or replace table looks as {each}")
        self._db.execute("""
            create or replace table ranks as select look, org,
              rank() over (partition by look order by x) + (count(*) over (partition by look, x) - 1) / 2 as x,
              rank() over (partition by look order by y) + (count(*) over (partition by look, y) - 1) / 2 as y from
              looks""")
        counts = self.rows("select count(*), count(distinct org) from looks group by look order by look")
        found = []
        for table, extra in (("looks", 0.0), ("ranks", 0.5)):
            joined = f"join ({self._errors(table)}) using (look)" if by_org else ""
            ends = f", tanh(atanh(r) - {_NORMAL} * se), tanh(atanh(r) + {_NORMAL} * se)" if by_org else ""
            found.append(
                self.rows(f"""
                select r, tanh(atanh(r) - {_NORMAL} * e), tanh(atanh(r) + {_NORMAL} * e) {ends} from
                (select look, r, sqrt((1 + {extra} * r * r) / (n - 3)) as e from
                  (select look, corr(x, y) as r, count(*) as n from {table} group by look)) {joined} order by look""")
            )
        return [(*c, *p, *s) for c, p, s in zip(counts, *found, strict=True)]

    def _errors(self, table: str) -> str:
        return f"with {self._leave_one_out(table, 'look')} select * from errors"

    @staticmethod
    def _leave_one_out(table: str, keys: str) -> str:
        """Return the jackknife over orgs as common table expressions; the last one has the standard error of z as
        `se`."""
        return f"""
            centred as (select {keys}, org, x - avg(x) over (partition by {keys}) as x,
                               y - avg(y) over (partition by {keys}) as y from {table}),
            per as (select {keys}, org, count(*) as n, sum(x) as sx, sum(y) as sy, sum(x * x) as sxx, sum(y * y) as syy,
                           sum(x * y) as sxy from centred group by all),
            rest as (select {keys}, sum(n) over k - n as n, sum(sx) over k - sx as sx, sum(sy) over k - sy as sy,
                            sum(sxx) over k - sxx as sxx, sum(syy) over k - syy as syy, sum(sxy) over k - sxy as sxy
                     from per window k as (partition by {keys})),
            zs as (select {keys}, atanh((sxy - sx * sy / n) / sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))) as z
            from rest),
            errors as (select {keys}, sqrt((count(*) - 1) * var_pop(z)) as se from zs group by all)"""
