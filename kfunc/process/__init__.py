"""What every process of the pod shares: arguments, the watcher, the run from bind to exit, management."""
