"""Plans and acts on the host that is looked at, with its own control and trail."""

from hostscope.model.response import Act, ActRequest, Plan
from hostscope.platforms.base import Host
from hostscope.platforms.control import open_control
from hostscope.respond.act import Treat
from hostscope.respond.act import apply as apply_plan
from hostscope.respond.plan import make_plan
from hostscope.respond.trail import open_trail


def plan(host: Host, request: ActRequest) -> Plan:
    """See `hostscope.respond.plan.make_plan`."""
    return make_plan(host, open_control(host.name), request, open_trail(host))


def apply(host: Host, planned: Plan, treat: Treat, confirmed: bool) -> Act:
    """See `hostscope.respond.act.apply`."""
    return apply_plan(host, open_control(host.name), planned, open_trail(host), treat, confirmed)
