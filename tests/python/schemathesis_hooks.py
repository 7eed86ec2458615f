"""What schemathesis is told about the keyward it asks (tests/it/described.rs).

It finds ids in answers and uses them. That of the key it asks with (OWN_KEY) it shall not end: every later answer would be a 401,
and would prove nothing. And so that not all it asks for is missing, every other valid request is about what is there: a key of
KEYS, the account ACCOUNT, the user USER.
"""

import itertools
import os

import schemathesis

OWN, ACCOUNT, USER = os.environ["OWN_KEY"], os.environ["ACCOUNT"], os.environ["USER_ID"]
KEYS = itertools.cycle(os.environ["KEYS"].split(","))
TURN = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    names = case.path_parameters or {}
    if case.meta is not None and case.meta.generation.mode.is_positive and next(TURN) % 2:
        there = {"key": next(KEYS), "account": ACCOUNT, "user": USER}
        names.update((name, value) for name, value in there.items() if name in names)
        if isinstance(case.body, dict):
            there = {"account_id": ACCOUNT, "user_id": USER}
            case.body.update((name, value) for name, value in there.items() if name in case.body)
    if names.get("key") in (OWN, "self"):
        names["key"] = "key_none"
