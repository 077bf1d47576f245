"""The local AWS of Drawbridge: MiniStack, moto's Step Functions interpreter, and the gaps between them and AWS.

Nothing in here is deployed. Three programs (`__main__`): `serve` runs the emulated services, `deploy` plays `sam
deploy`, `machines` plays the machines of EC2. What is patched, and why, is written where it is patched.

What still differs from AWS, as far as Drawbridge could notice:

- No network: security groups, routes, endpoints and prefix lists are records; an instance's public and private
  addresses are one loopback address. `aws:SourceVpce`, `aws:SecureTransport` and `s3:if-none-match` are not evaluated.
- Nothing is eventually consistent; pending takes 1 s, shutting-down 0.3 s, terminated instances vanish after 60 s.
- Permissions of rules, schedules and bucket notifications to invoke their targets are not checked.
- Terminating an unknown instance is denied rather than "not found" when the policy looks at tags.
- A task's answer that comes before its Lambda has returned is seen when it returns; if it fails, the failure counts.
- An error in the Output or Assign of a state is not caught by that state's Catch.
- A state with a heartbeat but no timeout gets 60 s. Executions are not logged to CloudWatch. No lifecycle expiry.
- Keys `test` and account numbers are root with any secret: hand nobody these.
- Everything is in memory, and gone when `serve` ends.
"""
