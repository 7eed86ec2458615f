//! The request path, over real sockets.

mod bodies;
mod callers;
mod canonical;
mod carriers;
mod headers;
mod life;
mod limits;
mod origins;
mod proxied;
mod rehearsal;
mod rotation;
mod routes;
mod scopes;
mod signed;
mod tls;
mod user_keys;
