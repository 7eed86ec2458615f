//! The APIs of vendors that existing clients speak, on the clients' own listener.

mod fixture;
mod vultr;
