"""What becomes of events that cannot be delivered and functions that fail, from outside."""

from __future__ import annotations

import io
import json
import sys
import time
import unittest
import zipfile
from typing import Any

from test_emulator import ACCOUNT, REGION, Emulator, _policy, _until

FAILING = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    event = urllib.request.urlopen(api + "next")
    error = json.dumps({{"errorType": "Meant", "errorMessage": "to fail"}}).encode()
    answer = api + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/error"
    urllib.request.urlopen(urllib.request.Request(answer, data=error, method="POST"))
"""

ANSWERING = FAILING.replace('{"errorType": "Meant", "errorMessage": "to fail"}', '{"notice": "a \\"word\\""}').replace(
    '"/error"', '"/response"'
)


def setUpModule() -> None:
    global emulator
    emulator = Emulator()
    unittest.addModuleCleanup(emulator.stop)
    emulator.start()


def _allow(service: str, action: str, resource: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": action,
        "Resource": resource,
    }


class Deliveries(unittest.TestCase):
    def setUp(self) -> None:
        self.name = self.id().rpartition(".")[2][:60]
        self.topic = emulator.client("sns").create_topic(Name=self.name)["TopicArn"]
        self.inbox, inbox = self.queue("inbox", "sns")
        self.dead, self.dead_arn = self.queue("dead", "events")
        emulator.client("sns").subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=inbox, Attributes={"RawMessageDelivery": "true"}
        )

    def queue(self, name: str, service: str) -> tuple[str, str]:
        """A queue that a service may send to: its URL and its ARN."""
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-{name}"
        policy = _policy(_allow(service, "sqs:SendMessage", arn))
        made = emulator.client("sqs").create_queue(QueueName=f"{self.name}-{name}", Attributes={"Policy": policy})
        return str(made["QueueUrl"]), arn

    def received(self, queue: str) -> Any:
        messages = _until(lambda: emulator.client("sqs").receive_message(QueueUrl=queue).get("Messages"))
        return json.loads(messages[0]["Body"])

    def rule(self, arn: str, **target: Any) -> str:
        events = emulator.client("events")
        pattern = json.dumps({"source": [self.name]})
        made = events.put_rule(Name=self.name, EventPattern=pattern)["RuleArn"]
        dead = {"DeadLetterConfig": {"Arn": self.dead_arn}}
        events.put_targets(Rule=self.name, Targets=[{"Id": "t", "Arn": arn, **dead, **target}])
        return str(made)

    def send(self, **detail: Any) -> None:
        entry = {"Source": self.name, "DetailType": "test", "Detail": json.dumps(detail)}
        emulator.client("events").put_events(Entries=[entry])

    def function(self, *statements: dict[str, Any], program: str = FAILING) -> str:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, program)
        iam = emulator.client("iam")
        trust = _allow("lambda", "sts:AssumeRole", "*")
        del trust["Resource"]
        role = iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=self.name, PolicyName="p", PolicyDocument=_policy(*statements))
        made = emulator.client("lambda").create_function(
            FunctionName=self.name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=role,
            Code={"ZipFile": content.getvalue()},
        )
        return str(made["FunctionArn"])

    def test_what_has_no_receiver_is_buried_and_the_alarm_tells(self) -> None:
        self.allow_topic("cloudwatch")
        emulator.client("cloudwatch").put_metric_alarm(
            AlarmName=self.name,
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Dimensions=[{"Name": "QueueName", "Value": f"{self.name}-dead"}],
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[self.topic],
        )
        self.rule(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:nobody")
        self.send(number=1)
        self.assertEqual(self.received(self.inbox)["NewStateValue"], "ALARM")
        self.assertEqual(self.received(self.dead)["detail"], {"number": 1})

    def allow_topic(self, service: str) -> None:
        policy = _policy(_allow(service, "sns:Publish", self.topic))
        emulator.client("sns").set_topic_attributes(
            TopicArn=self.topic, AttributeName="Policy", AttributeValue=policy
        )

    def test_a_quote_in_a_value_breaks_the_template_around_it(self) -> None:
        self.allow_topic("events")
        transformer = {"InputPathsMap": {"said": "$.detail.said"}, "InputTemplate": '"it said <said>"'}
        self.rule(self.topic, InputTransformer=transformer)
        self.send(said="plain")
        self.assertEqual(self.received(self.inbox), "it said plain")
        self.send(said='a "quote"')
        self.assertEqual(self.received(self.dead)["detail"], {"said": 'a "quote"'})

    def test_a_topic_and_a_function_that_let_no_rule_in_get_nothing(self) -> None:
        self.allow_topic("cloudwatch")
        self.rule(self.topic)
        self.send(to="topic")
        self.assertEqual(self.received(self.dead)["detail"], {"to": "topic"})
        self.rule(self.function())
        self.send(to="function")
        messages = _until(lambda: emulator.client("sqs").receive_message(QueueUrl=self.dead).get("Messages"))
        self.assertEqual(json.loads(messages[0]["Body"])["detail"], {"to": "function"})

    def test_a_function_that_fails_is_tried_again_and_then_its_topic_hears_of_it(self) -> None:
        publish = {"Effect": "Allow", "Action": "sns:Publish", "Resource": self.topic}
        arn = self.function(publish)
        client = emulator.client("lambda")
        client.put_function_event_invoke_config(
            FunctionName=self.name,
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": self.topic}},
        )
        rule = self.rule(arn)
        client.add_permission(
            FunctionName=self.name,
            StatementId="rule",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
        self.send(number=2)
        record = self.received(self.inbox)
        self.assertEqual(record["requestPayload"]["detail"], {"number": 2})
        self.assertEqual(record["responsePayload"]["errorType"], "Meant")

    def test_what_a_function_answers_goes_to_its_bus_if_its_role_may_put_events_there(self) -> None:
        bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
        self.allow_topic("events")
        put = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus}
        arn = self.function(put, program=ANSWERING)
        client = emulator.client("lambda")
        client.put_function_event_invoke_config(
            FunctionName=self.name, Qualifier="$LATEST", DestinationConfig={"OnSuccess": {"Destination": bus}}
        )
        self.rule(self.topic, InputPath="$.detail.responsePayload.notice")
        pattern = {
            "source": ["lambda"],
            "detail": {
                "requestContext": {"functionArn": [f"{arn}:$LATEST"]},
                "responsePayload": {"notice": [{"exists": True}]},
            },
        }
        emulator.client("events").put_rule(Name=self.name, EventPattern=json.dumps(pattern))
        client.invoke(FunctionName=self.name, Payload=b"{}")
        client.invoke(FunctionName=self.name, InvocationType="Event", Payload=b"{}")
        self.assertEqual(self.received(self.inbox), 'a "word"')
        left = emulator.client("sqs").receive_message(QueueUrl=self.inbox)
        self.assertNotIn("Messages", left, "who waits for an answer gets it himself")
        emulator.client("iam").delete_role_policy(RoleName=self.name, PolicyName="p")
        client.invoke(FunctionName=self.name, InvocationType="Event", Payload=b"{}")
        time.sleep(2)
        self.assertNotIn("Messages", emulator.client("sqs").receive_message(QueueUrl=self.inbox))

    def test_a_schedule_acts_as_its_role(self) -> None:
        iam = emulator.client("iam")
        trust = _allow("scheduler", "sts:AssumeRole", "*")
        del trust["Resource"]
        bury = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": self.dead_arn}
        role = iam.create_role(RoleName=f"{self.name}-s", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=f"{self.name}-s", PolicyName="p", PolicyDocument=_policy(bury))
        target = {"Arn": self.function(), "RoleArn": role, "Input": '{"sweep": {}}'}
        target["DeadLetterConfig"] = {"Arn": self.dead_arn}
        emulator.client("scheduler").create_schedule(
            Name=self.name,
            ScheduleExpression="at(2020-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
        )
        self.assertEqual(self.received(self.dead), {"sweep": {}})


if __name__ == "__main__":
    unittest.main()
