// The page: fetches data every two seconds and shows it.

import { Chart } from "./charts.js";
import { FAMILIES, between, reading, restarted } from "./reading.js";
import { Refused, metrics, pause, status, token } from "./client.js";
import { count, duration, moment, rate } from "./format.js";
import { parse } from "./exposition.js";
import { show, showEndpointsAgain, showVerdict } from "./view.js";

const EVERY_MS = 2000;
const WINDOW_MS = 60_000;
const CHART_SECONDS = 600;
const SHORTEST_CHART_SECONDS = 60;

const by = (id) => document.getElementById(id);
/** Wall-clock time that does not jump while the page is open. */
const clock = () => performance.timeOrigin + performance.now();
const plain = (value) => String(Number(value.toPrecision(3)));
const whole = (value) => (Number.isInteger(value) ? String(value) : "");

const charts = [
  {
    title: "Requests per second",
    format: rate,
    axis: plain,
    lines: [
      ["all", "perSecond", "--line-1"],
      ["answered 5xx", "errorsPerSecond", "--line-bad"],
    ],
  },
  {
    title: "Duration",
    format: duration,
    axis: duration,
    lines: [
      ["p50", "p50", "--line-1"],
      ["p95", "p95", "--line-2"],
      ["p99", "p99", "--line-3"],
    ],
  },
  {
    title: "Agents",
    format: rate,
    axis: plain,
    lines: [
      ["active", "activeAgents", "--line-1", count],
      ["executions per second", "executionsPerSecond", "--line-2"],
    ],
  },
  {
    title: "Database connections",
    format: count,
    axis: whole,
    lines: [
      ["in use", "poolActive", "--line-1"],
      ["idle", "poolIdle", "--line-2"],
      ["at most", "poolMax", "--line-3"],
    ],
  },
].map((spec) => new Chart(by("charts"), spec));

let readings = [];
let points = [];
let failures = 0;
let unreachableSince = null;
let timer = null;
let asking = false;

async function poll() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const [text, told] = await Promise.all([metrics(FAMILIES), status()]);
    learn(reading(parse(text), clock()), told);
    failures = 0;
    unreachableSince = null;
    by("figures").dataset.stale = "false";
  } catch (error) {
    if (error instanceof Refused) {
      askForToken(token.get() !== null);
      return;
    }
    miss();
  } finally {
    asking = false;
  }
  if (!isPaused()) timer = setTimeout(poll, pause(failures, EVERY_MS));
}

function learn(now, told) {
  const before = readings[readings.length - 1];
  if (before && restarted(before, now)) {
    readings = [];
    leaveGap(now.at);
  }
  readings = readings.filter(({ at }) => now.at - at <= WINDOW_MS);
  const lately = readings.length ? between(readings[0], now) : null;
  if (readings.length) addPoint(now, between(readings[readings.length - 1], now));
  readings.push(now);
  show(now, lately, told);
  drawCharts();
}

function addPoint(now, step) {
  const { success, failure, error } = step.executions;
  points.push({
    at: now.at / 1000,
    perSecond: step.perSecond,
    errorsPerSecond: step.errors / step.seconds,
    p50: step.p50,
    p95: step.p95,
    p99: step.p99,
    activeAgents: now.activeAgents,
    executionsPerSecond: (success + failure + error) / step.seconds,
    poolActive: now.poolActive,
    poolIdle: now.poolIdle,
    poolMax: now.poolMax,
  });
}

function leaveGap(at) {
  if (points.length && "perSecond" in points[points.length - 1]) points.push({ at: at / 1000 });
}

function drawCharts() {
  const now = clock() / 1000;
  points = points.filter(({ at }) => now - at <= CHART_SECONDS);
  const span = Math.max(SHORTEST_CHART_SECONDS, now - (points[0]?.at ?? now));
  for (const chart of charts) chart.show(points, span, now);
}

function miss() {
  failures += 1;
  unreachableSince ??= clock();
  showVerdict("bad", `✕ Not reachable since ${moment(unreachableSince)}`);
  by("figures").dataset.stale = "true";
  leaveGap(clock());
  drawCharts();
}

const isPaused = () => by("pause").getAttribute("aria-pressed") === "true";

function askForToken(refused) {
  token.forget();
  showVerdict("warn", "Locked");
  by("figures").hidden = true;
  by("token").hidden = false;
  by("token-refused").textContent = refused ? "The service does not take this token." : "";
  by("token-field").focus();
}

by("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(by("token-field").value);
  by("token-field").value = "";
  by("token").hidden = true;
  by("figures").hidden = false;
  poll();
});

by("pause").addEventListener("click", () => {
  const paused = !isPaused();
  by("pause").setAttribute("aria-pressed", String(paused));
  if (paused) clearTimeout(timer);
  else poll();
});

by("with-health").addEventListener("change", showEndpointsAgain);
addEventListener("online", () => isPaused() || poll());

if (document.documentElement.dataset.token === "required" && token.get() === null) askForToken(false);
else poll();
