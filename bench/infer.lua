-- POSTs the file $BENCH_BODY with the header fields $BENCH_FIELDS (name, tab, value, newline), and reports what wrk saw
-- as one line of JSON; latencies in µs.
-- With $BENCH_VARY each request has an x-request-id of its own, as behind a gateway or a mesh.
local requests, at = {}, 0

function init()
  wrk.method = "POST"
  local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
  wrk.body = file:read("*a")
  file:close()
  for name, value in string.gmatch(os.getenv("BENCH_FIELDS"), "([^\t]+)\t([^\n]+)\n") do
    wrk.headers[name] = value
  end
  for i = 1, request and 4096 or 0 do
    wrk.headers["X-Request-Id"] = string.format("%08x-0000-4000-8000-%012x", i, i)
    requests[i] = wrk.format()
  end
end

-- Without this function wrk repeats one request, which costs it less.
if os.getenv("BENCH_VARY") then
  function request()
    at = at % #requests + 1
    return requests[at]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'report: {"requests": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "not_ok": %d, "broken": %d, "timeouts": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
