"""The local AWS of Drawbridge: MiniStack, moto's Step Functions interpreter, and the gaps between them and AWS.

Nothing in here is deployed. What it patches, and what still differs from AWS, is written where it is patched.
"""
