"""What is fuzzed: each decoder as the request path uses it, with inputs that are right as seeds."""

from tests.fuzz import application_target, codec_targets, event_targets, grpc_targets, h2_targets, http_targets

TARGETS = [*codec_targets.TARGETS, *event_targets.TARGETS, *http_targets.TARGETS, *h2_targets.TARGETS, *grpc_targets.TARGETS]
TARGETS += application_target.TARGETS
