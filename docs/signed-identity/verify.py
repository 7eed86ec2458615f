"""Whether a request came through keyward, and in whose name. Python 3.8 or later, nothing to install."""

import base64
import hashlib
import hmac
import re
import time

REQUIRED = ["@method", "@authority", "@path", "@query", "x-request-id"]
IDENTITY = ["x-keyward-account", "x-keyward-user", "x-keyward-key", "x-keyward-kind", "x-keyward-permissions"]
CLOCK_SKEW = 5  # seconds that this machine's clock may be behind keyward's

INPUT = re.compile(
    r'keyward=(\(("[^"\\]+"(?: "[^"\\]+")*)\);created=(\d{1,12});expires=(\d{1,12});keyid="([^"\\]+)";alg="hmac-sha256")', re.ASCII
)


class NotFromKeyward(Exception):
    """Answer 401 and log the reason."""


def verify(method, target, headers, keys, now=None):
    """The identity headers of a request that came through keyward, by name in lower case; none on an open route.

    `target` is path and query as they came, not unescaped. `headers` are the pairs of name and value as they came, all
    of them. `keys` are the bytes of each key by its id: two while one replaces the other.
    """
    fields = {}
    for name, value in headers:
        name, value = name.lower().replace("_", "-"), value.strip(" \t")
        fields[name] = fields[name] + ", " + value if name in fields else value
    said = INPUT.fullmatch(fields.get("signature-input", ""))
    if not said:
        raise NotFromKeyward("no signature of keyward's form")
    params, covered, created, expires, key_id = said.groups()
    covered = covered[1:-1].split('" "')
    if key_id not in keys:
        raise NotFromKeyward("signed under a key that is not known here")
    now = time.time() if now is None else now
    if not int(created) - CLOCK_SKEW <= now <= int(expires):
        raise NotFromKeyward("signed too long ago, or in the future")

    must = REQUIRED + [name for name in IDENTITY if name in fields]
    if set(must) != set(covered) or len(must) != len(covered):
        raise NotFromKeyward("a header stands there that was not signed, or the other way round")
    path, _, query = target.partition("?")
    derived = {"@method": method, "@authority": fields.get("host", "").lower(), "@path": path, "@query": "?" + query}
    lines = ['"%s": %s\n' % (name, derived.get(name, fields.get(name, ""))) for name in covered]
    base = "".join(lines) + '"@signature-params": ' + params

    given = fields.get("signature", "")
    if not (base + given).isascii():
        raise NotFromKeyward("what keyward says is ASCII")
    tag = hmac.new(keys[key_id], base.encode(), hashlib.sha256).digest()
    expected = "keyward=:%s:" % base64.b64encode(tag).decode()
    if not hmac.compare_digest(expected, given):
        raise NotFromKeyward("the signature is not this request's")
    return {name: fields[name] for name in IDENTITY if name in fields}


def main():
    """python3 verify.py KEY_ID=KEY_FILE [UNIX_TIME] < the head of a request, as it came"""
    import json
    import sys

    key_id, _, key_file = sys.argv[1].partition("=")
    with open(key_file, "rb") as file:
        keys = {key_id: file.read()}
    first, *lines = sys.stdin.buffer.read().decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    method, target, _ = first.split(" ")
    headers = [line.split(":", 1) for line in lines]
    now = int(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        print(json.dumps(verify(method, target, headers, keys, now)))
    except NotFromKeyward as reason:
        sys.exit("rejected: %s" % reason)


if __name__ == "__main__":
    main()
