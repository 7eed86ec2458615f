"""The library http-message-signatures (RFC 9421) on a request that passed keyward: its head comes on stdin.

    $KEYWARD_TEST_PYTHON tests/python/verify_signature.py KEY_ID=KEY_FILE < head

Prints what the signature covers as JSON; a signature that does not verify is an error that says `InvalidSignature`.
"""

import json
import sys
from types import SimpleNamespace

from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms


def main():
    key_id, _, key_file = sys.argv[1].partition("=")
    with open(key_file, "rb") as file:
        keys = MappingKeyResolver(public_keys={key_id: file.read()}, private_keys={})
    first, *lines = sys.stdin.buffer.read().decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    # The client's scheme: the library leaves out the port that goes without saying (RFC 9421, 2.2.3).
    url = f"{headers['x-forwarded-proto']}://{headers['host']}{target}"
    request = SimpleNamespace(method=method, url=url, headers=headers)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
    [result] = verifier.verify(request, require_components=("@method", "@authority", "@path", "@query", "x-request-id"))
    print(json.dumps({name.strip('"'): value for name, value in result.covered_components.items()}))


main()
