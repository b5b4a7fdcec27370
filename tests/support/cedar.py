"""Policies translated into Cedar, another engine that knows nothing of ours."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cedarpy

from broker.policy.table import Request
from schemas.policy import Direction, PolicyDocument, Rule


def policies_of(document: PolicyDocument, direction: Direction | None) -> str:
    """The rules of one direction as Cedar policies."""
    rules = [rule for rule in document.rule if rule.direction is direction]
    return "\n".join(_policy(rule, direction) for rule in rules)


def allowed(
    policies: str, requests: Sequence[Request], groups: Mapping[str, frozenset[str]]
) -> list[bool]:
    """What Cedar says of each request; an error in its diagnostics is a deny."""
    asked = [_request(request, groups) for request in requests]
    results = cedarpy.is_authorized_batch(asked, policies, [])
    return [result.allowed and not result.diagnostics.errors for result in results]


def _request(request: Request, groups: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    sender, recipient = request.sender, request.recipient
    context = {
        "type": request.type,
        "sender": sender,
        "recipient": recipient,
        "sender_groups": [name for name, codes in groups.items() if sender in codes],
        "recipient_groups": [name for name, codes in groups.items() if recipient in codes],
        "status": str(request.status),
        "tlp": request.tlp.rank,
        "level": request.level.rank,
        "handling": [str(code) for code in request.handling],
        "purposes": [str(code) for code in request.purposes],
        "facts": request.facts.model_dump(),
        "agency": request.agency,
    }
    return {
        "principal": 'Member::"x"',
        "action": 'Action::"send"',
        "resource": 'Member::"y"',
        "context": context,
    }


def _policy(rule: Rule, direction: Direction | None) -> str:
    terms = [term for term in _terms(rule, direction) if term]
    when = f" when {{ {' && '.join(terms)} }}" if terms else ""
    return f"{rule.effect}(principal, action, resource){when};"


def _terms(rule: Rule, direction: Direction | None) -> list[str]:
    peer = "recipient" if direction is Direction.EXPORT else "sender"
    return [
        _one_of(rule.types, "context.type"),
        _member(rule.peers, rule.groups, peer),
        _member(rule.senders, rule.sender_groups, "sender"),
        _member(rule.recipients, rule.recipient_groups, "recipient"),
        _one_of(rule.status, "context.status"),
        "" if rule.tlp_at_most is None else f"context.tlp <= {rule.tlp_at_most.rank}",
        "" if rule.tlp_at_least is None else f"context.tlp >= {rule.tlp_at_least.rank}",
        ""
        if rule.classification_at_most is None
        else f"context.level <= {rule.classification_at_most.rank}",
        ""
        if rule.classification_at_least is None
        else f"context.level >= {rule.classification_at_least.rank}",
        ""
        if rule.handling_only is None
        else f"{_list(rule.handling_only)}.containsAll(context.handling)",
        ""
        if rule.handling_any is None
        else f"context.handling.containsAny({_list(rule.handling_any)})",
        ""
        if rule.purposes_only is None
        else f"{_list(rule.purposes_only)}.containsAll(context.purposes)",
        ""
        if rule.purposes_any is None
        else f"context.purposes.containsAny({_list(rule.purposes_any)})",
        _one_of(rule.agencies, "context.agency"),
        *_facts(rule),
    ]


def _facts(rule: Rule) -> list[str]:
    if rule.facts is None:
        return []
    wanted = rule.facts.model_dump(exclude_none=True)
    return [f"context.facts.{name} == {json.dumps(value)}" for name, value in wanted.items()]


def _member(codes: Sequence[str] | None, groups: Sequence[str] | None, whose: str) -> str:
    if codes is None and groups is None:
        return ""
    terms = []
    if codes is not None:
        terms.append(f"{_list(codes)}.contains(context.{whose})")
    if groups is not None:
        terms.append(f"context.{whose}_groups.containsAny({_list(groups)})")
    return f"({' || '.join(terms)})"


def _one_of(codes: Sequence[str] | None, field: str) -> str:
    return "" if codes is None else f"{_list(codes)}.contains({field})"


def _list(codes: Sequence[str]) -> str:
    return json.dumps([str(code) for code in codes])
