"""Names in place of ids, for people: each is looked up once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lava_proxy.wiring import House

YOURSELF = "(you)"
"""The merchant's own calls."""


class Names:
    def __init__(self, house: "House") -> None:
        self._house = house
        self._customers: dict[str, str] = {}
        self._meters: dict[str, str] = {}

    def customer(self, customer_id: str | None) -> str:
        """The reference id, or else the id itself."""
        if not customer_id:
            return YOURSELF
        if customer_id not in self._customers:
            found = self._house.customers.get(customer_id)
            self._customers[customer_id] = found.reference_id or customer_id
        return self._customers[customer_id]

    def meter(self, meter_id: str) -> str:
        """The slug."""
        if meter_id not in self._meters:
            self._meters[meter_id] = self._house.meters.get(meter_id).meter.slug
        return self._meters[meter_id]

    def group(self, kind: str, value: str) -> str:
        """Of a line of `lava usage`."""
        if kind == "customer":
            return self.customer(value)
        return self.meter(value) if kind == "meter" and value else value
