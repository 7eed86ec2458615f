"""vultr-python against a keyward in front of an API: create a key, use it, list, delete, and the 401 after that.

The address comes from ADDRESS; the root certificate and the key from the variables that requests and the client read.
"""

import os

from vultr import Vultr, VultrException

Vultr.url = os.environ["ADDRESS"]


def refused(client, status, error):
    try:
        client.list_regions()
    except VultrException as exception:
        assert (exception.status, exception.error) == (status, error), exception
    else:
        raise AssertionError("it was let in")


old = Vultr()
made = old.post("apikeys", name="from python", expire=True, date_expire="2030-01-01T00:00:00Z")["api_key"]
new = Vultr(made["api_key"])
assert new.list_regions() == [{"id": "ewr"}]
assert new.get("/account")["account"]["acls"] == ["jobs:*", "users:read"]
keys = new.get("/apikeys", {"per_page": 500})["api_keys"]
assert Vultr.filter_list(keys, "from python")["id"] == made["id"], keys
assert new.get(f"apikeys/{made['id']}")["api_key"]["date_expire"] == "2030-01-01T00:00:00Z"
[before] = [key for key in keys if key["id"] != made["id"]]
assert new.delete(f"apikeys/{before['id']}") is None
refused(old, 401, "Invalid API token.")
refused(Vultr("nobodys-key"), 401, "Invalid API token.")
assert new.list_regions() == [{"id": "ewr"}]
print("vultr-python ok")
