"""A view: its one name, whose documents count, and the time that nobody can argue with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from primum_verifier.core.view import AuthorityView, RoleState, SignedDocument, proven_time

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STATE = RoleState(3, NOW, "a" * 64)


def view(
    *,
    authority: str = "engineering",
    issued_at: datetime | None = NOW,
    role: RoleState = STATE,
    name: str = "model",
) -> AuthorityView:
    documents = {"releases/a": SignedDocument(b"{}", "model")}
    return AuthorityView(authority, {name: role}, issued_at, documents, frozenset())


def test_a_view_is_named_by_authority_versions_and_digests() -> None:
    names = {
        view().view_id,
        view(authority="clinical").view_id,
        view(name="targets").view_id,
        view(role=RoleState(4, NOW, "a" * 64)).view_id,
        view(role=RoleState(3, NOW, "b" * 64)).view_id,
    }
    assert len(names) == 5
    assert view(role=RoleState(3, NOW + timedelta(1), "a" * 64)).view_id == view().view_id


def test_a_view_keeps_its_name_in_every_version_of_the_verifier() -> None:
    """Danger: an auditor's verifier names the view of a verdict otherwise than the device did."""
    assert view().view_id == ("8609926e92c1c3d689b812fac6fe5b76d4743d733568429a239c4e5211fe6de9")


def test_a_document_that_another_role_slipped_in_is_as_good_as_absent() -> None:
    assert view().document("releases/a", roles=frozenset({"model"})) == b"{}"
    assert view().document("releases/a", roles=frozenset({"rollout"})) is None
    assert view().document("releases/b", roles=frozenset({"model"})) is None


@pytest.mark.parametrize("powered", [0.0, 90.5])
@pytest.mark.parametrize("later", [0, 1])
def test_proven_time_is_the_older_issue_time_and_the_powered_seconds(
    powered: float, later: int
) -> None:
    older, newer = view(), view(issued_at=NOW + timedelta(days=1))
    pair = (older, newer) if later else (newer, older)
    assert proven_time(*pair, powered_seconds=powered) == NOW + timedelta(seconds=powered)


def test_a_count_of_seconds_that_runs_backwards_takes_nothing_away() -> None:
    assert proven_time(view(), view(), powered_seconds=-1.0) == NOW


@pytest.mark.parametrize("missing", [0, 1])
def test_without_both_issue_times_no_time_is_proven(missing: int) -> None:
    pair = [view(), view()]
    pair[missing] = view(issued_at=None)
    assert proven_time(*pair, powered_seconds=1.0) is None
