"""Shows when this process last logged each alarm, so that none is told by its log alone.

Most alarms have a number of their own as well. These words are closed lists of ours, as in the log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from broker.logs import alarms_said

OF_HUB: Final = "kentong_hub_alarm_timestamp_seconds"
OF_PROCESS: Final = "kentong_process_alarm_timestamp_seconds"
OF_NODE: Final = "kentong_node_alarm_timestamp_seconds"


@dataclass(frozen=True)
class AlarmLines(Collector):
    """The alarms that this process has logged since it began.

    A moment and no count: the first alarm of a process is one that no counter shows as an increase.

    Attributes:
        name: Of the metric.
    """

    name: str

    @override
    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            self.name,
            "When a process last logged an alarm, seconds since 1970, by its word",
            labels=["alarm"],
        )
        for alarm, at_s in sorted(alarms_said().items()):
            family.add_metric([alarm], at_s)
        yield family
