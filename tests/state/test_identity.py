"""An alias leads to at most one user."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from state.identity import EVENT, Directory, Link, OrgRecord, UserRecord, spelled, unlinked_alias
from state.membership import FOREVER_MS, Membership, joined, org_at
from tests.state.worlds import examples


def user(org: str, *aliases: str, bot: bool = False) -> UserRecord:
    return UserRecord("", org, [spelled(a) for a in aliases], "", True, bot)


def found(directory: Directory, alias: str) -> tuple[str, str] | None:
    person = directory.find(alias)
    return None if person is None else (person.org, person.user)


def test_mail_addresses_are_found_in_any_case_and_names_only_in_their_own() -> None:
    directory = Directory()
    directory.learn_user("8", user("a", "8", "Ann@Example.ORG", "Ann"))
    for alias in ("8", "ann@example.org", "ANN@EXAMPLE.ORG ", "Ann", " Ann "):
        assert found(directory, alias) == ("a", "8")
    assert found(directory, "ann") is None


def test_the_first_to_claim_an_alias_keeps_it() -> None:
    directory = Directory()
    directory.learn_user("8", user("a", "x"))
    directory.learn_user("9", user("a", "x"))
    assert found(directory, "x") == ("a", "8")
    assert directory.conflicts == 1


def test_of_two_claims_the_earlier_counts_whichever_is_read_first() -> None:
    # Two users are in two partitions of the directory's log, which a worker that starts reads in any order.
    for first, second in ((("8", 1000), ("7", 2000)), (("7", 2000), ("8", 1000))):
        directory = Directory()
        for name, said_ms in (first, second):
            directory.learn_user(name, user("a", "x"), said_ms)
        directory.learn_user("8", user("b", "x", "y"), 3000)  # said again: its claim stays as old as it is
        assert found(directory, "x") == ("b", "8")
        directory.learn_user("8", user("b", "y"), 4000)
        assert found(directory, "x") == ("a", "7")
        directory.learn_user("8", user("b", "y", "x"), 5000)  # back again: the other one's is older now
        assert found(directory, "x") == ("a", "7")


def test_a_users_new_entry_replaces_the_former_one() -> None:
    directory = Directory()
    directory.learn_user("8", user("a", "x", "y"))
    directory.learn_user("8", user("b", "y", "z"))
    assert [found(directory, alias) for alias in "xyz"] == [None, ("b", "8"), ("b", "8")]
    assert directory.people["y"].subject == "b\x1f8\x1fy" and len(directory) == 1


def test_who_is_gone_takes_only_their_own_aliases_along() -> None:
    directory = Directory()
    directory.learn_user("8", user("a", "x"))
    directory.learn_user("9", user("a", "x", "y"))
    directory.learn_user("9", None)
    assert [found(directory, alias) for alias in "xy"] == [("a", "8"), None]
    directory.learn_user("nobody", None)


def test_orgs_come_and_go() -> None:
    directory = Directory()
    directory.learn_org("a", OrgRecord("a", "Acme", "UTC", ""))
    assert directory.orgs["a"].name == "Acme"
    directory.learn_org("a", None)
    directory.learn_org("a", None)
    assert directory.orgs == {}


def test_an_alias_that_is_left_goes_to_who_claimed_it_next() -> None:
    # A worker that starts now reads of 9 alone; one that runs since before must come to the same.
    directory = Directory()
    for said_ms, name in enumerate(("8", "9", "7")):
        directory.learn_user(name, user("a", "x"), said_ms)
    directory.learn_user("8", None)
    assert found(directory, "x") == ("a", "9")
    directory.learn_user("9", user("a", "y"))
    assert found(directory, "x") == ("a", "7")


def test_a_new_entry_does_not_cost_a_contested_alias() -> None:
    directory = Directory()
    directory.learn_user("8", user("a", "x"))
    directory.learn_user("9", user("a", "x"))
    directory.learn_user("8", user("b", "x"))
    assert found(directory, "x") == ("b", "8")


steps_strategy = st.lists(
    st.tuples(st.sampled_from("123"), st.none() | st.lists(st.sampled_from("wxyz"), max_size=3, unique=True)),
    max_size=14,
)


@examples(150)
@given(steps_strategy)
def test_every_alias_leads_to_its_oldest_claim(steps: list[tuple[str, list[str] | None]]) -> None:
    directory, claims = Directory(), {alias: [] for alias in "wxyz"}
    for number, (name, aliases) in enumerate(steps):
        directory.learn_user(name, None if aliases is None else user(str(number), *aliases), number)
        for alias, users in claims.items():
            users[:] = [(n, org) for n, org in users if n != name or alias in (aliases or ())]
            users[:] = [(n, str(number) if n == name else org) for n, org in users]
            if alias in (aliases or ()) and name not in [n for n, _ in users]:
                users.append((name, str(number)))
            assert found(directory, alias) == ((users[0][1], users[0][0]) if users else None)
    assert directory._claims == {a: [n for n, _ in users] for a, users in claims.items() if users}


def test_an_operators_word_goes_before_the_directorys_and_that_before_an_events() -> None:
    directory = Directory()
    for name in ("8", "9"):
        directory.learn_user(name, user("a", name))
    directory.learn_link("x", Link("x", "9", EVENT))
    assert found(directory, "x") == ("a", "9")
    directory.learn_user("8", user("a", "8", "x"))
    assert found(directory, "x") == ("a", "8") and directory.aliases_of("9") == ["9"]
    directory.learn_link("x", Link("x", "9"))
    assert found(directory, "x") == ("a", "9") and directory.aliases_of("9") == ["9", "x"]
    directory.learn_link("x", Link("x", ""))
    assert found(directory, "x") is None and directory.waiting_alias("x") == unlinked_alias("x")
    directory.learn_link("x", None)
    assert found(directory, "x") == ("a", "8")


def test_a_link_waits_for_its_user_and_ends_with_them() -> None:
    directory = Directory()
    directory.learn_link("x", Link("x", "8"))
    assert found(directory, "x") is None
    directory.learn_user("8", user("a", "8"))
    assert found(directory, "x") == ("a", "8")
    directory.learn_user("8", user("b", "8"))
    assert found(directory, "x") == ("b", "8")
    directory.learn_user("8", None)
    assert found(directory, "x") is None


@examples(150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.none() | st.integers(1, 60), st.none() | st.integers(61, 99), st.integers(1, 99)
        ),
        max_size=8,
    )
)
def test_memberships_never_overlap_and_what_was_said_last_holds(said: list) -> None:
    known: list[Membership] = []
    for org, since, until, at in said:
        once = joined(known, org, since, until, at)
        assert joined(once, org, since, until, at) == once
        known = once
        assert all(begin < end for begin, end, _ in known)
        assert all(left[1] <= right[0] for left, right in pairwise(known))
        if since is not None:
            assert org_at(known, since) == org and org_at(known, (until or FOREVER_MS) - 1) == org
            assert org_at(known, until or FOREVER_MS) == ""
