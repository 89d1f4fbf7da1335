// One reading of the metrics, and the difference of two readings.

import { parseValue } from "./exposition.js";
import { quantile } from "./quantile.js";

/** The families that the page reads; it requests no others. */
export const FAMILIES = [
  "http_requests_total",
  "http_request_duration_seconds",
  "http_requests_in_progress",
  "agent_executions_total",
  "active_agents",
  "db_connections_active",
  "db_connections_idle",
  "db_connections_max",
  "db_connections_waiting",
  "gunicorn_workers",
  "gunicorn_worker_exits_total",
  "gunicorn_threads",
  "gunicorn_threads_busy",
  "health_check_healthy",
  "process_resident_memory_bytes",
  "process_start_time_seconds",
  "app_info",
];

const isHealth = (endpoint) => endpoint.startsWith("/health/");

/**
 * Return one reading of the service at the moment `at` (milliseconds).
 *
 * Counters are keyed by their labels, so that two readings can be subtracted. A gauge that is absent
 * is null.
 */
export function reading(samples, at) {
  const gauge = (name) => samples.get(name)?.[0]?.value ?? null;
  const requests = new Map();
  for (const { labels, value } of samples.get("http_requests_total") ?? []) {
    requests.set(`${labels.method} ${labels.status} ${labels.endpoint}`, { ...labels, value });
  }
  const durations = new Map();
  for (const { labels, value } of samples.get("http_request_duration_seconds_bucket") ?? []) {
    durations.set(`${labels.method} ${labels.le} ${labels.endpoint}`, { ...labels, value });
  }
  const executions = new Map();
  for (const { labels, value } of samples.get("agent_executions_total") ?? []) {
    executions.set(`${labels.status} ${labels.agent_id}`, { ...labels, value });
  }
  const exits = {};
  for (const { labels, value } of samples.get("gunicorn_worker_exits_total") ?? []) {
    exits[labels.reason] = value;
  }
  return {
    at,
    startedAt: gauge("process_start_time_seconds"),
    requests,
    durations,
    executions,
    exits,
    info: samples.get("app_info")?.[0]?.labels ?? {},
    checks: new Map(
      (samples.get("health_check_healthy") ?? []).map((each) => [each.labels.check, each.value === 1]),
    ),
    inProgress: gauge("http_requests_in_progress"),
    activeAgents: gauge("active_agents"),
    poolActive: gauge("db_connections_active"),
    poolIdle: gauge("db_connections_idle"),
    poolMax: gauge("db_connections_max"),
    poolWaiting: gauge("db_connections_waiting"),
    workers: gauge("gunicorn_workers"),
    threads: gauge("gunicorn_threads"),
    threadsBusy: gauge("gunicorn_threads_busy"),
    memoryBytes: gauge("process_resident_memory_bytes"),
  };
}

/**
 * Return the increase of each counter since `before`. A lower value means a restart, a new counter
 * started at 0. Never negative.
 */
export function* increases(before, now) {
  for (const [key, { value, ...labels }] of now) {
    const old = before.get(key)?.value ?? 0;
    yield { ...labels, increase: value >= old ? value - old : value };
  }
}

/** Whether the service restarted between two readings, which makes their difference meaningless. */
export const restarted = (before, now) => before.startedAt !== now.startedAt;

/** The difference of two readings without a restart between them. */
export function between(before, now) {
  const seconds = (now.at - before.at) / 1000;
  const endpoints = new Map();
  const of = (endpoint) => {
    if (!endpoints.has(endpoint)) {
      endpoints.set(endpoint, { endpoint, requests: 0, errors: 0, buckets: new Map() });
    }
    return endpoints.get(endpoint);
  };
  for (const { endpoint, status, increase } of increases(before.requests, now.requests)) {
    of(endpoint).requests += increase;
    if (status >= "500") of(endpoint).errors += increase;
  }
  for (const { endpoint, le, increase } of increases(before.durations, now.durations)) {
    const { buckets } = of(endpoint);
    buckets.set(le, (buckets.get(le) ?? 0) + increase);
  }
  const own = [...endpoints.values()].filter(({ endpoint }) => !isHealth(endpoint));
  const all = { requests: 0, errors: 0, buckets: new Map() };
  for (const { requests, errors, buckets } of own) {
    all.requests += requests;
    all.errors += errors;
    for (const [le, count] of buckets) all.buckets.set(le, (all.buckets.get(le) ?? 0) + count);
  }
  const executions = { success: 0, failure: 0, error: 0 };
  for (const { status, increase } of increases(before.executions, now.executions)) {
    executions[status] = (executions[status] ?? 0) + increase;
  }
  return {
    seconds,
    executions,
    ...summary(all, seconds),
    endpoints: [...endpoints.values()]
      .filter(({ requests }) => requests > 0)
      .map((each) => ({
        endpoint: each.endpoint,
        isHealth: isHealth(each.endpoint),
        ...summary(each, seconds),
      })),
  };
}

function summary({ requests, errors, buckets }, seconds) {
  const sorted = [...buckets]
    .map(([le, count]) => [parseValue(le), count])
    .sort(([one], [other]) => one - other);
  return {
    requests,
    errors,
    perSecond: seconds > 0 ? requests / seconds : NaN,
    errorShare: requests > 0 ? errors / requests : NaN,
    p50: quantile(0.5, sorted),
    p95: quantile(0.95, sorted),
    p99: quantile(0.99, sorted),
  };
}
