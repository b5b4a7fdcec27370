"""Who may send what to whom: the states' policies, compiled and evaluated."""

from broker.policy.evaluate import Policies, Verdict, compile_policies

__all__ = ["Policies", "Verdict", "compile_policies"]
