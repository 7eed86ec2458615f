//! PgBouncer in transaction mode: a session of its clients is a session of the database for one transaction only.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::keeper::Keeper;
use super::{PORTS_TRIED, free_port};

/// A running PgBouncer.
pub(crate) struct PgBouncer {
    keeper: Keeper,
    address: SocketAddr,
}

impl PgBouncer {
    /// One in front of the PostgreSQL that listens there.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let keeper = Keeper::new("pgbouncer", SCRIPT, Path::new("/usr/sbin"));
        let run = |_| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let order = format!("start {} {} {}", server.ip(), server.port(), address.port());
            keeper.order(&order).then_some(address)
        };
        let found = (0..PORTS_TRIED).find_map(run);
        let address = found.unwrap_or_else(|| panic!("pgbouncer runs: run .ci/packages\n{}", keeper.said()));
        Self { keeper, address }
    }

    /// Where clients connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

const SCRIPT: &str = r#"
start() {
    set -- $1
    cat >ini <<END
[databases]
* = host=$1 port=$2 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $3
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
END
    pgbouncer ini >log 2>&1 &
    until grep -q 'process up' log; do kill -0 $! && sleep 0.02 || return; done
}
end() { kill -KILL $!; wait; }
"#;
