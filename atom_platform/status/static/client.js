// Fetches data from the service, and retries while it is unavailable.

const TIMEOUT_MS = 5000;
const TOKEN = "atom-status-token";

/** The service requires a token, or rejects the one it got. */
export class Refused extends Error {}

/** URLs are relative to this file's own URL, because a proxy may add a prefix. */
const at = (name) => new URL(`../../${name}`, import.meta.url);

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function get(url, accept) {
  const headers = { Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const answer = await fetch(url, {
    headers,
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (answer.status === 401 || answer.status === 403) throw new Refused();
  if (!answer.ok) throw new Error(`${url.pathname} answered ${answer.status}`);
  return answer;
}

/** Return the text of the metrics, of `families` only. */
export async function metrics(families) {
  const url = at("metrics");
  for (const family of families) url.searchParams.append("name[]", family);
  return (await get(url, "text/plain")).text();
}

/** Return the data that metrics do not hold. */
export async function status() {
  return (await get(at("status"), "application/json")).json();
}

/**
 * Return the delay before the next request after `failures` in a row: doubled each time up to `most`,
 * with a random share so that open pages do not retry in step.
 */
export function pause(failures, every, { most = 15000, random = Math.random } = {}) {
  if (failures === 0) return every;
  return Math.min(most, every * 2 ** (failures - 1)) * (0.75 + random() / 2);
}
