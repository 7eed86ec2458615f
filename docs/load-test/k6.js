// k6: every request with the next key of keys.csv, at its account's path.
//
//     k6 run -e KEYS="$PWD/keys.csv" docs/load-test/k6.js
//
// URL is where keyward is, VUS how many ask at one time, DURATION how long.

import { check } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';

const url = __ENV.URL || 'http://127.0.0.1:8080';

// Read once for all VUs; the first line names the columns.
const keys = new SharedArray('keys', () => {
  const rows = open(__ENV.KEYS).trim().split('\n').slice(1);
  return rows.map((row) => {
    const [secret, account] = row.split(',');
    return { secret, account };
  });
});

export const options = {
  vus: Number(__ENV.VUS || 64),
  duration: __ENV.DURATION || '30s',
  thresholds: {
    checks: ['rate==1'],
    http_req_duration: ['p(99)<100'],
  },
};

export default function () {
  const { secret, account } = keys[exec.scenario.iterationInTest % keys.length];
  const answer = http.get(`${url}/api/v2/accounts/${account}/items`, {
    headers: { Authorization: `Token ${secret}` },
    // One series in the result, and not one for each account.
    tags: { name: 'items' },
  });
  check(answer, { 'is 2xx': ({ status }) => status >= 200 && status < 300 });
}
