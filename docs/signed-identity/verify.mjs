// Whether a request came through keyward, and in whose name. Node.js 18 or later, nothing to install.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const REQUIRED = ["@method", "@authority", "@path", "@query", "x-request-id"];
const IDENTITY = ["x-keyward-account", "x-keyward-user", "x-keyward-key", "x-keyward-kind", "x-keyward-permissions"];
const CLOCK_SKEW = 5; // seconds that this machine's clock may be behind keyward's

const INPUT =
  /^keyward=(\(("[^"\\]+"(?: "[^"\\]+")*)\);created=(\d{1,12});expires=(\d{1,12});keyid="([^"\\]+)";alg="hmac-sha256")$/;

// Answer 401 and log the reason.
export class NotFromKeyward extends Error {}

// The identity headers of a request that came through keyward, by name in lower case; none on an open route.
//
// `target` is path and query as they came, not unescaped: `request.url`. `rawHeaders` are names and values in turn, as
// they came: `request.rawHeaders`. `keys` is a Map from a key's id to its bytes: two while one replaces the other.
export function verify(method, target, rawHeaders, keys, now = Date.now() / 1000) {
  const fields = new Map();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at].toLowerCase().replaceAll("_", "-");
    const value = rawHeaders[at + 1].replace(/^[ \t]+|[ \t]+$/g, "");
    fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value);
  }
  const said = INPUT.exec(fields.get("signature-input") ?? "");
  if (!said) throw new NotFromKeyward("no signature of keyward's form");
  const [, params, list, created, expires, keyId] = said;
  const covered = list.slice(1, -1).split('" "');
  if (!keys.has(keyId)) throw new NotFromKeyward("signed under a key that is not known here");
  if (!(Number(created) - CLOCK_SKEW <= now && now <= Number(expires)))
    throw new NotFromKeyward("signed too long ago, or in the future");

  const must = [...REQUIRED, ...IDENTITY.filter((name) => fields.has(name))];
  if (must.length !== covered.length || !must.every((name) => covered.includes(name)))
    throw new NotFromKeyward("a header stands there that was not signed, or the other way round");
  const mark = target.indexOf("?");
  const derived = new Map([
    ["@method", method],
    ["@authority", (fields.get("host") ?? "").toLowerCase()],
    ["@path", mark < 0 ? target : target.slice(0, mark)],
    ["@query", mark < 0 ? "?" : target.slice(mark)],
  ]);
  const lines = covered.map((name) => `"${name}": ${derived.get(name) ?? fields.get(name) ?? ""}\n`);
  const base = `${lines.join("")}"@signature-params": ${params}`;

  const tag = createHmac("sha256", keys.get(keyId)).update(base).digest("base64");
  const expected = Buffer.from(`keyward=:${tag}:`);
  const given = Buffer.from(fields.get("signature") ?? "");
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new NotFromKeyward("the signature is not this request's");
  return Object.fromEntries(IDENTITY.filter((name) => fields.has(name)).map((name) => [name, fields.get(name)]));
}

// node verify.mjs KEY_ID=KEY_FILE [UNIX_TIME] < the head of a request, as it came
function main() {
  const at = process.argv[2].indexOf("=");
  const keys = new Map([[process.argv[2].slice(0, at), readFileSync(process.argv[2].slice(at + 1))]]);
  const [first, ...lines] = readFileSync(0, "latin1").split("\r\n\r\n")[0].split("\r\n");
  const [method, target] = first.split(" ");
  const rawHeaders = lines.flatMap((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]);
  const now = process.argv[3] === undefined ? undefined : Number(process.argv[3]);
  try {
    console.log(JSON.stringify(verify(method, target, rawHeaders, keys, now)));
  } catch (reason) {
    if (!(reason instanceof NotFromKeyward)) throw reason;
    console.error(`rejected: ${reason.message}`);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
