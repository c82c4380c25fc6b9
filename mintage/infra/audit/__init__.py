"""Proves from the log alone that every rule held at every event and that what is served is what the log says."""

from mintage.infra.audit.findings import DIFFERENCES_MAX, Difference, Findings
from mintage.infra.audit.verify import audit, verify

__all__ = ["DIFFERENCES_MAX", "Difference", "Findings", "audit", "verify"]
