"""What callers may ask of a credit account, as Hypothesis draws it: every command there is, in any order."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from hypothesis import strategies as st

from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import (
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    Release,
    Terms,
)

T = TypeVar("T")

OVER: Final = 4
HOUR: Final = timedelta(hours=1)

Kind: TypeAlias = Literal[
    "grant", "consume", "hold", "capture", "release", "expire", "reverse", "remove", "claw back whole", "claw back part"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Ask(NamedTuple):
    """What is asked for. What a field means depends on the kind, and what it comes to on what is there."""

    kind: Kind
    which: int
    """Of the holds, the transactions or the orders: the newest that is not over is 0; ``OVER`` is one that is."""
    amount: int
    less: int | None
    """Rather than ``amount``: everything there is, less so many."""
    fen: int
    lasts: int | None
    """For how many hours; nothing lasts 0 hours, and may come in all the same."""
    priority: int
    reason: Release


def asks(*kinds: Kind) -> st.SearchStrategy[Ask]:
    """One of these kinds; one that is named twice comes up twice as often."""
    return st.one_of([_asks(kind) for kind in kinds])


def _asks(kind: Kind) -> st.SearchStrategy[Ask]:
    return st.builds(
        Ask,
        st.just(kind),
        st.integers(0, OVER),
        st.integers(1, 40 if kind == "grant" else 9),
        st.sampled_from([None] * 8 + [-1, 0, 1, 3]),
        st.just(0) | st.integers(1, 5) | st.integers(1, 100),
        st.none() | st.integers(0, 24),
        st.sampled_from([50, 50, 0, 100]),
        st.sampled_from(get_args(Release)),
    )


class Caller:
    """Who asks: knows what was granted, held and spent so far, newest first."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self.new_id = new_id
        self.granted: list[CreditsGranted] = []
        self.spent: list[CreditsConsumed | HoldCaptured] = []
        self.holds: list[str] = []
        self.clawed_back: Counter[str] = Counter()

    def see(self, event: CreditEvent) -> None:
        match event:
            case CreditsGranted():
                self.granted.insert(0, event)
            case CreditsHeld():
                self.holds.insert(0, event.hold_id)
            case CreditsConsumed() | HoldCaptured():
                self.spent.insert(0, event)
            case CreditsClawedBack(recharge_id=recharge_id, amount=amount):
                self.clawed_back[recharge_id] += amount

    def command(self, ask: Ask, account: CreditAccount, now: datetime) -> CreditCommand | None:
        """The command that the ask comes to on this account; None if there is nothing yet that it could be about."""
        match ask.kind:
            case "grant":
                return self._grant(ask, now)
            case "expire":
                return ExpireCredits(now=now)
            case "consume" | "remove":
                return self._spend(ask, account, now)
            case "hold" | "capture" | "release":
                return self._hold(ask, account, now)
            case "reverse":
                return self._reverse(ask, account, now)
            case "claw back whole" | "claw back part":
                return self._claw_back(ask, now)

    def _grant(self, ask: Ask, now: datetime) -> GrantCredits:
        return GrantCredits(
            transaction_id=self.new_id(),
            amount=ask.amount,
            source="recharge" if ask.fen else "signup_bonus",
            description="granted",
            now=now,
            paid_fen=ask.fen,
            payment_method="alipay" if ask.fen else None,
            expires_at=_later(now, ask.lasts),
            priority=ask.priority,
            reference=self.new_id() if ask.fen else None,
        )

    def _spend(self, ask: Ask, account: CreditAccount, now: datetime) -> CreditCommand:
        amount, new_id = _amount(ask, account.available), self.new_id
        if ask.kind == "consume":
            return ConsumeCredits(transaction_id=new_id(), amount=amount, description="spent", now=now)
        return RemoveCredits(transaction_id=new_id(), amount=amount, description="removed", reference=new_id(), now=now)

    def _hold(self, ask: Ask, account: CreditAccount, now: datetime) -> CreditCommand:
        known = _pick(ask.which, self.holds, lambda hold_id: hold_id not in account.holds) or self.new_id()
        if ask.kind == "hold":
            # An open hold is asked for again; one that has ended never is, as it has the id of its task.
            hold_id = known if ask.which == 3 and known in account.holds else self.new_id()
            amount, product = _amount(ask, account.available), f"model/{ask.which}"
            until = _later(now, ask.lasts)
            return HoldCredits(
                hold_id=hold_id, amount=amount, description="held", product=product, now=now, expires_at=until
            )
        if ask.kind == "release":
            return ReleaseHold(hold_id=known, reason=ask.reason, now=now)
        held = sum(lot.amount for lot in account.holds[known].lots) if known in account.holds else 0
        return CaptureHold(
            hold_id=known,
            transaction_id=self.new_id(),
            amount=_amount(ask, held),
            description="captured",
            now=now,
        )

    def _reverse(self, ask: Ask, account: CreditAccount, now: datetime) -> ReverseSpending | None:
        spent = _pick(ask.which, self.spent, lambda event: event.transaction_id in account.reversed_ids)
        if spent is None:
            return None
        terms = {
            grant.lot: Terms(grant.amount, grant.paid_fen, grant.expires_at, grant.priority, grant.reference)
            for grant in self.granted
        }
        return ReverseSpending(
            transaction_id=self.new_id(),
            spent=spent,
            terms=terms,
            description="reversed",
            now=now,
        )

    def _left(self, grant: CreditsGranted) -> int:
        """What of a lot that was bought was not clawed back yet."""
        return 0 if grant.reference is None else max(0, grant.amount - self.clawed_back[grant.reference])

    def _claw_back(self, ask: Ask, now: datetime) -> ClawBack | None:
        bought = [grant for grant in self.granted if self._left(grant)]
        grant = _pick(ask.which, bought, lambda _: False)
        if grant is None or grant.reference is None:
            return None
        left = self._left(grant)
        whole = ask.kind == "claw back whole"
        return ClawBack(
            transaction_id=self.new_id(),
            recharge_id=grant.reference,
            reference=self.new_id(),
            reason="chargeback" if whole else "refund",
            # A few fen may be worth no credit.
            amount=left if whole else min(ask.amount - 1, left),
            refunded_fen=grant.paid_fen if whole else min(ask.fen + 1, grant.paid_fen),
            payment_method="alipay",
            description="clawed back",
            now=now,
        )


def _pick(which: int, of: list[T], over: Callable[[T], bool]) -> T | None:
    """One that is not over, or if ``OVER`` says so one that is; the other way round if there is none."""
    some = [one for one in of if over(one) == (which == OVER)] or of
    return some[which % len(some)] if some else None


def _amount(ask: Ask, there: int) -> int:
    return ask.amount if ask.less is None else max(1, there - ask.less)


def _later(now: datetime, hours: int | None) -> datetime | None:
    return None if hours is None else now + hours * HOUR
