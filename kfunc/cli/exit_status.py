"""What commands end with, besides 0."""

FAILED = 1
MISUSED = 2  # an argument or func.yaml is wrong: to start again will not help
TRY_AGAIN = 4  # the cluster has not taken up what a rollout asked for
INTERRUPTED = 130
