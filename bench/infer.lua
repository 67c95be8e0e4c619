-- POSTs $BENCH_BODY and reports what wrk saw as one line of JSON; latencies in µs.
function init()
  wrk.method = "POST"
  wrk.body = os.getenv("BENCH_BODY")
  wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'report: {"requests": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "not_ok": %d, "broken": %d, "timeouts": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
