// What docs/load-test/k6.js needs of k6, in node: `open`, `__ENV`, and the modules k6, k6/data, k6/execution and k6/http.
// Requests are real, by curl, since k6's are synchronous.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

globalThis.__ENV = process.env;
globalThis.open = (path) => readFileSync(path, 'utf8');

const passed = { true: 0, false: 0 };

export function check(value, checks) {
  for (const holds of Object.values(checks)) passed[Boolean(holds(value))] += 1;
}

export class SharedArray extends Array {
  constructor(name, make) {
    super();
    this.push(...make());
  }
}

const scenario = { iterationInTest: 0 };

function get(url, { headers }) {
  const named = Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
  const said = execFileSync('curl', ['--silent', '--output', '/dev/null', '--write-out', '%{http_code}', ...named, url]);
  return { status: Number(said) };
}

export default { get, scenario };

// Runs the script's default function so often, with the thresholds k6 would know.
export async function run(script, iterations) {
  const { default: iterate, options } = await script();
  for (const named of ['checks', 'http_req_duration']) {
    if (!Array.isArray(options.thresholds[named])) throw new Error(`no threshold for ${named}`);
  }
  for (; scenario.iterationInTest < iterations; scenario.iterationInTest += 1) iterate();
  console.log(`${iterations} iterations, ${passed.true} checks passed, ${passed.false} failed`);
}
