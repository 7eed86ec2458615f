//! The request path, over real sockets.

mod agree;
mod bodies;
mod callers;
mod canonical;
mod carriers;
mod filter;
mod headers;
mod life;
mod limits;
mod origins;
mod proxied;
mod rehearsal;
mod retirement;
mod rotation;
mod routes;
mod scopes;
mod signed;
mod tls;
mod user_keys;
