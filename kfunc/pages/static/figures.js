// The function's figures since the last time, as a point of the charts. Zero is the function's word for "nothing is known".

export function pointOf(figures) {
  const known = (value) => (value > 0 ? value : null);
  return {
    rate: figures.inferences_per_s,
    failed: figures.errors_per_s,
    p50: known(figures.p50_s * 1000),
    p99: known(figures.p99_s * 1000),
    batch: known(figures.batch_size),
    queued: figures.queue_length,
    events: figures.events_per_s,
    waiting: figures.events_waiting,
  };
}
