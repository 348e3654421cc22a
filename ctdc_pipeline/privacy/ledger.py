"""Record what was spent of the privacy budget: a chain of entries that only grows.

It is the budget of the persons in this home. The chain is in the sensitive zone. Each entry is a file with the hash of the
entry before it. A draw is charged before any noise is drawn, and nothing is ever refunded. What remains is a difference of
exact fractions. The number and hash of the last entry, the *head*, are noted outside the sensitive zone and published with each
release, so that an older or different chain in its place is detected.

Nothing here depends on the clock: the order of entries is that of the chain.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from ctdc_pipeline.errors import BudgetError, CtdcError, ParameterError
from ctdc_pipeline.privacy.accounting import epsilon_of, mu_of
from ctdc_pipeline.storage.files import read_bytes, staged, write_bytes
from ctdc_pipeline.storage.zones import Zones, locked

HEAD = "CTDC_BUDGET_HEAD"
"""The environment variable with the path of the file where the head is noted, if it is not in the home."""
UNIVERSE = "every person with a record in this home, of any year and partner"
UNIT = "one person, who has one record"
_NONE = "0" * 64
_DIGITS = 6
_RESTORE = "Put the newest ledger in its place; without it no measurement can be made, for what was spent is not known."


@dataclass(frozen=True)
class Charge:
    """A draw of noise, as it is recorded before it is made."""

    release: str
    purpose: str
    approver: str
    mechanism: str
    queries: str
    """Hash of the set of counts."""
    domain: str
    cap: int
    squared: Mapping[str, int]
    """Squared sensitivity of each kind of counts, in units."""
    sigma: Mapping[str, int]
    mu_squared: Fraction
    epsilon: float
    delta: float
    deliveries: str
    """Hash of the table of deliveries from which the persons come."""
    software: str


@dataclass(frozen=True)
class LedgerEntry:
    """One entry of the chain: its content, and its hash."""

    number: int
    kind: str
    content: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True)
class Account:
    """What the whole chain adds up to."""

    entries: tuple[LedgerEntry, ...]

    @property
    def head(self) -> str:
        """The hash of the last entry."""
        return self.entries[-1].sha256 if self.entries else _NONE

    @property
    def limit(self) -> Fraction | None:
        """The most that may be spent, as mu squared; None until somebody sets it."""
        limits = self._of("limit")
        return Fraction(limits[-1].content["mu_squared"]) if limits else None

    @property
    def delta(self) -> float:
        """The delta at which totals are converted to epsilon."""
        return float(self._of("limit")[-1].content["delta"])

    @property
    def charges(self) -> tuple[LedgerEntry, ...]:
        """All draws, including those that were aborted."""
        return self._of("reserved")

    @property
    def spent(self) -> Fraction:
        """The total of all draws, as mu squared."""
        return sum((Fraction(entry.content["mu_squared"]) for entry in self.charges), Fraction(0))

    @property
    def remaining(self) -> Fraction:
        """What may still be spent, as mu squared; never below 0."""
        return max(Fraction(0), (self.limit or Fraction(0)) - self.spent)

    @property
    def uncontrolled(self) -> tuple[str, ...]:
        """Accepted releases of the same persons that have no finite epsilon."""
        return tuple(dict.fromkeys(version for entry in self.entries for version in entry.content.get("uncontrolled", ())))

    @property
    def epsilon(self) -> float | None:
        """The epsilon, at ``delta``, of everything that is known of the persons.

        None if it is not finite.
        """
        return None if self.uncontrolled or self.limit is None else self.epsilon_of(self.spent)

    def epsilon_of(self, mu_squared: Fraction) -> float:
        """Convert ``mu_squared`` to epsilon at ``delta``."""
        return epsilon_of(mu=math.sqrt(mu_squared), delta=self.delta) if mu_squared else 0.0

    @property
    def measured(self) -> frozenset[str]:
        """The hashes of all measurements that were charged."""
        return frozenset(entry.content["measurements"] for entry in self._of("measured"))

    @property
    def unfinished(self) -> LedgerEntry | None:
        """The last reserved draw, if its outcome is not recorded yet."""
        ended = {entry.content["charge"] for entry in self.entries if entry.kind in ("measured", "aborted")}
        return next((entry for entry in self.charges if entry.number not in ended), None)

    def state(self, charge: LedgerEntry) -> str:
        """Return how a draw ended: measured, aborted, or reserved while that is not known."""
        return next((e.kind for e in self.entries if e.content.get("charge") == charge.number), charge.kind)

    def _of(self, kind: str) -> tuple[LedgerEntry, ...]:
        return tuple(entry for entry in self.entries if entry.kind == kind)


@dataclass(frozen=True)
class Ledger:
    """The chain in ``folder``, whose head is noted in the file ``noted``.

    A process needs ``lock`` to write.
    """

    folder: Path
    noted: Path
    lock: Path

    @classmethod
    def of(cls, zones: Zones) -> Ledger:
        """Return the ledger of a home.

        ``CTDC_BUDGET_HEAD`` names the file for its head, best on another disk.
        """
        noted = os.environ.get(HEAD)
        return cls(zones.ledger, Path(noted) if noted else zones.root / "budget.head", zones.ledger_lock)

    def account(self) -> Account:
        """Return what the chain adds up to.

        Raises:
            BudgetError: If the chain was altered, is older than its head, or is not known to be the newest.
        """
        entries = self._chain()
        noted = self._noted()
        if noted is None and entries:
            raise BudgetError(
                "the head of the ledger is noted nowhere, as after a restored backup: it may lack what was spent since",
                remedy="Compare it with the last release and your own notes, then: ctdc budget accept HEAD.",
            )
        number, digest = noted or (0, _NONE)
        if number > len(entries) or (number and entries[number - 1].sha256 != digest):
            raise BudgetError("the ledger is older than its head says, or another one", remedy=_RESTORE)
        return Account(entries)

    def set_limit(self, *, epsilon: float, delta: float, approver: str, reason: str) -> Account:
        """Allow at most ``epsilon`` at ``delta`` to be spent in total, from now on.

        Args:
            epsilon: The limit.
            delta: The limit.
            approver: Who decides.
            reason: Why; both are recorded.

        Raises:
            BudgetError: If the ledger cannot be relied on.
            ParameterError: If epsilon and delta are not a budget, or a text is blank.
        """
        require_words(approver=approver, reason=reason)
        mu_squared = Fraction(mu_of(epsilon=epsilon, delta=delta)) ** 2
        content = {"mu_squared": str(mu_squared), "epsilon": epsilon, "delta": delta, "approver": approver, "reason": reason}
        with locked(self.lock):
            return self._append(self.account(), "limit", universe=UNIVERSE, **content)

    def accept(self, head: str, *, approver: str, reason: str) -> Account:
        """Accept a restored chain as the newest.

        Somebody must know from elsewhere that ``head`` was the last one.

        Raises:
            BudgetError: If the chain does not end with ``head``, or its head is noted already.
            ParameterError: If a text is blank.
        """
        require_words(approver=approver, reason=reason)
        with locked(self.lock):
            if self._noted() is not None:
                raise BudgetError("the head of the ledger is noted, so there is nothing to accept", remedy="See: ctdc budget.")
            account = Account(self._chain())
            if not account.entries or head.strip().lower() != account.head:
                raise BudgetError("the ledger does not end with this head", remedy=_RESTORE)
            return self._append(account, "accepted", approver=approver, reason=reason)

    def mix(self, version: str, *, reason: str) -> Account:
        """Record that a release without a finite epsilon is accepted besides the measurements."""
        require_words(reason=reason)
        with locked(self.lock):
            return self._append(self.account(), "uncontrolled", uncontrolled=[version], reason=reason)

    @contextmanager
    def charged(
        self, charge: Charge, *, uncontrolled: Sequence[str] = (), heads: Sequence[str] = ()
    ) -> Generator[Callable[[str], None]]:
        """Charge a draw, and make it in the block.

        The block calls the yielded function with the hash of the measurements once they are complete. The draw is paid for
        whatever happens; a block that fails, or whose process ends, is recorded as aborted.

        Args:
            charge: The draw.
            uncontrolled: Accepted releases of the same persons without a finite epsilon.
            heads: The heads that releases publish; the chain must contain them.

        Raises:
            BudgetError: If the charge is more than what remains, or the ledger cannot be relied on.
            ParameterError: If a text is blank.
        """
        require_words(approver=charge.approver, purpose=charge.purpose)
        with locked(self.lock, message="Another process is measuring; waiting for its end."):
            account = self.account()
            if not {*heads} <= {_NONE, *(entry.sha256 for entry in account.entries)}:
                raise BudgetError("a release names a head that is not in the ledger", remedy=_RESTORE)
            if unfinished := account.unfinished:
                account = self._append(account, "aborted", charge=unfinished.number)
            _require_left(account, charge.mu_squared)
            mixed = {"uncontrolled": list(uncontrolled)} if uncontrolled else {}
            content = {**asdict(charge), "mu_squared": str(charge.mu_squared), "universe": UNIVERSE, "unit": UNIT, **mixed}
            account = self._append(account, "reserved", **content)
            number, ended = len(account.entries), False

            def done(sha256: str) -> None:
                nonlocal ended
                self._append(account, "measured", charge=number, measurements=sha256)
                ended = True

            try:
                yield done
            except BaseException:
                if not ended:
                    with suppress(OSError, CtdcError):  # if this fails, the next measurement records it
                        self._append(account, "aborted", charge=number)
                raise

    def _append(self, account: Account, kind: str, **said: Any) -> Account:
        """Add one entry, then note the new head. The caller must hold the lock."""
        number = len(account.entries) + 1
        written = datetime.now(UTC).isoformat(timespec="seconds")
        # The head is published. Without the nonce, somebody who knows all records but one could guess it by trying.
        chained = {"number": number, "previous": account.head, "nonce": secrets.token_hex(32)}
        content = entry_bytes({**chained, "kind": kind, "written": written, **said})
        path = self.folder / f"{number:0{_DIGITS}}.json"
        if path.exists():
            raise BudgetError("the ledger has grown meanwhile", remedy="Let one process at a time write to it.")
        write_bytes(content, path)
        entry = _entry(content)
        with staged(self.noted) as part:
            part.write_text(f"{number} {entry.sha256}\n", encoding="ascii")
        return Account((*account.entries, entry))

    def _chain(self) -> tuple[LedgerEntry, ...]:
        """Return all entries, each of which follows the one before. Raises BudgetError."""
        entries: list[LedgerEntry] = []
        previous = _NONE
        for number, path in enumerate(sorted(self.folder.glob("*.json")), start=1):
            entry = _read(path, previous=previous)
            if entry is None or entry.number != number or path.stem != f"{number:0{_DIGITS}}":
                raise BudgetError(f"entry {number} of the ledger is missing or was altered", remedy=_RESTORE)
            entries.append(entry)
            previous = entry.sha256
        return tuple(entries)

    def _noted(self) -> tuple[int, str] | None:
        """Return the noted number and hash of the last entry, or None if nothing is noted."""
        try:
            number, digest = self.noted.read_text(encoding="ascii").split()
            return int(number), digest
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise BudgetError("the note of the ledger's head cannot be read", remedy=f"Restore {self.noted.name}.") from None


def require_words(**texts: str) -> None:
    """Refuse a decision that does not say who took it or why. Raises ParameterError."""
    for name, text in texts.items():
        if not text.strip():
            raise ParameterError(f"the {name} is missing", remedy="Say who decides and why; it is written down for good.")


def _require_left(account: Account, cost: Fraction) -> None:
    """Raise BudgetError unless ``cost`` is within what remains of the budget."""
    if account.limit is None:
        raise BudgetError("no limit of the privacy budget is set", remedy="Decide on one: ctdc budget set.")
    if account.spent + cost > account.limit:
        raise BudgetError(
            "the measurement costs more than is left of the privacy budget",
            remedy="Make records from the stored measurements, which costs nothing; `ctdc budget` shows what was spent.",
        )


def _read(path: Path, *, previous: str) -> LedgerEntry | None:
    """Return the entry at ``path`` if it is unaltered and follows ``previous``, else None."""
    try:
        content = read_bytes(path)
        entry = _entry(content)
        return entry if content == entry_bytes(entry.content) and entry.content["previous"] == previous else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(content: bytes) -> LedgerEntry:
    fields: dict[str, Any] = json.loads(content)
    return LedgerEntry(int(fields["number"]), str(fields["kind"]), fields, hashlib.sha256(content).hexdigest())


def entry_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the exact bytes of an entry's file."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
