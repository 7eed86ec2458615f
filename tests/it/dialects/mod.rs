//! The key APIs of vendors, on the clients' listener.

mod dbt;
mod dbt_client;
mod dbt_flows;
mod exchange;
