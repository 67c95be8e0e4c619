"""Events that are kept somewhere: read, filtered, checked for gaps, sent again. Used by commands, never in the pod."""
