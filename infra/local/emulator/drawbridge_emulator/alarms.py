"""CloudWatch alarms on the length of an SQS queue, which nobody measures in MiniStack.

On AWS the metric comes every minute; here it is looked at every second, so that a test can wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch, sns, sqs

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

CLOUDWATCH = "cloudwatch.amazonaws.com"


def install() -> None:
    dispatch = cloudwatch._dispatch_alarm_actions

    def dispatch_where_let_in(alarm: dict[str, Any], *transition: Any) -> None:
        """Asks the topic's policy, which MiniStack does not."""
        account = alarm["AlarmArn"].split(":")[4]
        actions = alarm.get("AlarmActions") or []
        open_to_us = [arn for arn in actions if sns.topic_policy_allows(arn, CLOUDWATCH, alarm["AlarmArn"], account)]
        for arn in set(actions) - set(open_to_us):
            LOG.error("%s: %s does not let %s in", alarm["AlarmName"], arn, CLOUDWATCH)
        dispatch(alarm | {"AlarmActions": open_to_us}, *transition)

    cloudwatch._dispatch_alarm_actions = dispatch_where_let_in
    threading.Thread(target=_watch, name="drawbridge-alarms", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        for (account, region, name), alarm in list(cloudwatch._alarms._data.items()):
            set_request_account_id(account)
            set_request_region(region)
            try:
                _evaluate(account, region, alarm)
            except Exception:  # one bad alarm must not silence the others
                LOG.exception("the alarm %s could not be evaluated", name)


def _evaluate(account: str, region: str, alarm: dict[str, Any]) -> None:
    if (alarm.get("Namespace"), alarm.get("MetricName")) != ("AWS/SQS", "ApproximateNumberOfMessagesVisible"):
        return
    names = [dimension["Value"] for dimension in alarm["Dimensions"] if dimension["Name"] == "QueueName"]
    queue = sqs._queue_by_arn(f"arn:aws:sqs:{region}:{account}:{names[0]}")
    if queue is None:
        return
    sqs._refresh_counts(queue)
    length = int(queue["attributes"]["ApproximateNumberOfMessages"])
    if alarm["ComparisonOperator"] != "GreaterThanThreshold":
        raise NotImplementedError(f"{alarm['ComparisonOperator']} on a queue's length")
    before, now = alarm["StateValue"], "ALARM" if length > alarm["Threshold"] else "OK"
    if now != before:
        reason = f"Threshold Crossed: 1 datapoint [{length}] against the threshold ({alarm['Threshold']})."
        alarm |= {"StateValue": now, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
        cloudwatch._record_history(alarm["AlarmName"], before, now, reason)
        cloudwatch._dispatch_alarm_actions(alarm, before, now, reason)
