"""What `h2o doctor` reports: findings.

Each is `ok`, `note` (works, but something optional is absent), `missing` (a command would fail) or `wrong` (a table
says what is not so).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report: `status` is ok, note, missing or wrong; `advice` says what to do where it is not ok."""

    status: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.status:8s}{self.what}" + (f"\n{'':8s}-> {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class Report:
    """All findings, in the order in which a user would meet them."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing, or wrong, that was asked about."""
        return all(finding.status not in ("missing", "wrong") for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)
