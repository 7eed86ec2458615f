"""keyward as a peer of the benchmark harness, which reads this file where KEYWARD_PEER names it.

Only a server that has its keys can be measured, and importing them is no part of what is. So this file, when it is read,
has the harness make the keys it is about to make, adopts them into a store with `keyward import`, and hands the harness a
command that serves from that store. KEYWARD_BIN names the binary; by default it is the project's release build.
Where KEYWARD_POSTGRES is the address of an empty PostgreSQL database there is a peer "keyward-postgres" too, whose store that is.
"""
import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = os.environ.get("KEYWARD_BIN", str(HERE.parent.parent / "target" / "release" / "keyward"))


def wanted_keys():
    """How many keys the run is about, by its own command line; none where keyward is not among its peers."""
    words = [word for argument in sys.argv[1:] for word in argument.split(",")]
    if not {"keyward", "keyward-postgres", "all"} & set(words):
        return None
    # runpy, which reads this file, has put its name in place of the program's.
    if Path(sys.modules["__main__"].__file__).name == "icount.py":
        return 1000
    for at, argument in enumerate(sys.argv):
        name, _, value = argument.partition("=")
        if name == "--keys":
            return int(value or sys.argv[at + 1])
    return 10000


def harness():
    """run.py as a module: whichever harness this is, its keys are made by its own function."""
    spec = importlib.util.spec_from_file_location("keyward_peer_harness", Path(sys.modules["peers"].__file__).parent / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_keys(count, folder, stores):
    """Makes the harness's keys, and has each of the stores adopt them."""
    harness().gen_keys(folder, count)
    rows = folder / "keys.csv"
    with open(folder / "keys.tsv") as keys, open(rows, "w") as out:
        out.write("secret,account\n")
        out.writelines(line.replace("\t", ",") for line in keys)
    made = list(folder.iterdir())
    for store in stores:
        subprocess.run([BINARY, "import", str(rows), "--store", store], check=True, stdout=sys.stderr)
    for path in made:
        path.unlink()


def peer(folder, name, store):
    """keyward on a store: its settings with that filled in; the rest of the names is the harness's to fill."""
    filled = folder / f"{name}.toml"
    filled.write_text((HERE / "keyward.toml").read_text().replace("${keyward_store}", store))
    return dict(PEER, config=str(filled))


PEER = dict(cmd=[BINARY, "serve", "--config", "${cfg}"], can={"auth", "h1", "tls", "h2"}, note="keyward, every limit, time-out and metric on")

_count = wanted_keys()
if _count is not None:
    _folder = Path(tempfile.mkdtemp(prefix="keyward-bench."))
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    _stores = {"keyward": f"sqlite://{_folder / 'keyward.db'}"}
    if os.environ.get("KEYWARD_POSTGRES"):
        _stores["keyward-postgres"] = os.environ["KEYWARD_POSTGRES"]
    import_keys(_count, _folder, _stores.values())
    _peers = {name: peer(_folder, name, store) for name, store in _stores.items()}
    sys.modules["peers"].PEERS.update(_peers)
    PEER = _peers["keyward"]
