"""The addons in their order, which is the order in which each hook reaches them."""

from lava_proxy.addons.admission import Admission
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.identity import Identity
from lava_proxy.addons.local_answers import LocalAnswers
from lava_proxy.addons.metering import Metering
from lava_proxy.addons.tunnels import Tunnels


def roster(edge: Edge) -> tuple[object, ...]:
    """Our addons. What the port answers itself comes before admission, and admission before metering."""
    return (Identity(edge), Tunnels(edge), LocalAnswers(edge), Admission(edge), Metering(edge))
