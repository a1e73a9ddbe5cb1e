"""Payments that a person takes in: every one is recorded as due, until somebody notes that it came."""

from lava_proxy.core.gateway import Answer, Charge, Outcome, Refund


class ManualGateway:
    """See ``core.gateway.PaymentGateway``."""

    name = "manual"

    def charge(self, charge: Charge) -> Answer:
        """To be paid by bank or in cash; `lava payments mark-paid` says when it was."""
        del charge
        return Answer(outcome=Outcome.PENDING, reason="to be marked as paid")

    def refund(self, refund: Refund) -> Answer:
        """To be sent back by hand."""
        del refund
        return Answer(outcome=Outcome.PENDING, reason="to be sent back and marked as paid")
